//! Verbs that need the control database itself, because there is no operator yet: `migrate`, `admin init`.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Subcommand;
use model::{
    key::{Peppers, Purpose},
    secret::SecretText,
};
use store::{
    actor::{Actor, ActorKind},
    pool::Primary,
    topology::Topology,
};

use super::NodeArgs;
use crate::{boot, config::NodeConfig, node};

/// Setting up a deployment.
#[derive(Debug, Subcommand)]
pub enum AdminVerb {
    /// Make the first operator token and print it once
    #[command(after_help = "Example:\n  causeway admin init --config node.yaml --name alice > operator-token")]
    Init {
        /// The node file: which database, which peppers
        #[command(flatten)]
        node: NodeArgs,
        /// Who the token is for
        #[arg(long, default_value = "admin")]
        name: String,
    },
}

/// Does it.
///
/// # Errors
/// When the database cannot be reached or written.
pub async fn run(verb: AdminVerb) -> Result<()> {
    let AdminVerb::Init { node, name } = verb;
    let config = boot::node_config(&node.config)?;
    let peppers = boot::peppers(&config.secrets.peppers)?;
    let token = with_primary(&config, async |primary| create_operator(&primary, &peppers, &name, "admin").await).await?;
    super::say(&format!("{}\n", token.expose_secret()));
    Ok(())
}

/// Brings the schema up to date.
///
/// # Errors
/// When the database cannot be reached or a migration fails; a failed migration changes nothing.
pub async fn migrate(args: &NodeArgs) -> Result<()> {
    let config = boot::node_config(&args.config)?;
    let applied = with_primary(&config, async |primary| Ok(store::migrate::migrate(&primary).await?)).await?;
    let now = if applied.now.is_empty() { "nothing to do".to_owned() } else { format!("applied {}", applied.now.join(", ")) };
    super::say(&format!("{now}; the schema is at version {}\n", applied.version));
    Ok(())
}

/// Makes an operator token.
///
/// # Errors
/// When it cannot be stored.
pub async fn create_operator(primary: &Primary, peppers: &Peppers, name: &str, role: &str) -> Result<SecretText> {
    let issued = crate::dev::issue(Purpose::Operator, peppers);
    let actor = Actor { kind: ActorKind::Cli, name: "causeway admin".to_owned() };
    let expires_at = edge::clock::Clock.wall().plus_seconds(365 * 86_400);
    let new = store::operator::NewOperator { issued: &issued, name, role, expires_at: Some(expires_at) };
    store::operator::create(primary, new, &actor).await.context("the operator token could not be stored")?;
    Ok(issued.text)
}

async fn with_primary<T>(config: &NodeConfig, act: impl AsyncFnOnce(Primary) -> Result<T>) -> Result<T> {
    let topology: Topology = node::topology(config)?;
    let work = async {
        let primary = topology.wait_primary(Duration::from_secs(10)).await.context("no server of the control database is a primary that answers")?;
        act(primary).await
    };
    tokio::select! {
        result = work => result,
        () = topology.watch() => anyhow::bail!("watching the control database ended"),
    }
}
