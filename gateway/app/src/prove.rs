//! Tells the database which keys of other systems had their texts shown, so that every node finds them from then on as it finds any key.

use std::{sync::Arc, time::Duration};

use edge::runtime::Edge;
use model::key::foreign::bcrypt::Proved;
use store::{
    actor::{Actor, ActorKind},
    error::StoreError,
    key::prove,
    topology::Topology,
};

/// The rest while the primary is away: until it is back, this node's memory answers.
const RETRY: Duration = Duration::from_secs(1);

/// Tells it for as long as the node runs.
pub async fn run(edge: Arc<Edge>, topology: Topology) {
    let actor = Actor { kind: ActorKind::System, name: edge.node.to_string() };
    loop {
        edge.proving.news().await;
        while let Some(proved) = edge.proving.next() {
            match tell(&topology, &proved, &actor).await {
                Ok(outcome) => tracing::debug!(key.id = %proved.id, ?outcome, "a key of another system was shown and is known now"),
                Err(error @ (StoreError::Unavailable { .. } | StoreError::CommitUnknown { .. } | StoreError::Superseded { .. })) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the database cannot be told about a key; it is tried again");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                // What finds it is taken, or the row cannot be read. It goes on being verified here.
                Err(error) => {
                    tracing::warn!(key.id = %proved.id, error = &error as &dyn std::error::Error, "a key of another system stays unknown to the database");
                }
            }
            edge.proving.settled(proved.id, edge.clock.boot());
        }
    }
}

async fn tell(topology: &Topology, proved: &Proved, actor: &Actor) -> Result<prove::Outcome, StoreError> {
    prove::prove(&topology.primary()?, proved, actor).await
}
