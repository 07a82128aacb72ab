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
    /// Put the newest pepper around the digests of all keys
    #[command(after_help = "\
Example:
  causeway admin rotate-pepper --config node.yaml

First give every node the new pepper, as the last entry of `secrets.peppers`, and keep the ones before: keys made until now need
both. It can be stopped and begun again anywhere. Exit codes: 0 done, 1 failed.")]
    RotatePepper {
        /// The node file: which database, which peppers
        #[command(flatten)]
        node: NodeArgs,
    },
}

/// Does it.
///
/// # Errors
/// When the database cannot be reached or written.
pub async fn run(verb: AdminVerb) -> Result<()> {
    match verb {
        AdminVerb::Init { node, name } => init(&node, &name).await,
        AdminVerb::RotatePepper { node } => rotate_pepper(&node).await,
    }
}

async fn init(node: &NodeArgs, name: &str) -> Result<()> {
    let config = boot::node_config(&node.config)?;
    let peppers = boot::peppers(&config.secrets.peppers)?;
    let token = with_primary(&config, async |primary| create_operator(&primary, &peppers, name, "admin").await).await?;
    super::say(&format!("{}\n", token.expose_secret()));
    Ok(())
}

/// Batch by batch, with a line of progress now and then.
async fn rotate_pepper(node: &NodeArgs) -> Result<()> {
    let config = boot::node_config(&node.config)?;
    let peppers = boot::peppers(&config.secrets.peppers)?;
    let actor = Actor { kind: ActorKind::Cli, name: "causeway admin".to_owned() };
    let rotated = with_primary(&config, async |primary| {
        let (mut rotated, mut after) = (0_usize, None);
        loop {
            let batch = store::key::pepper::rotate(&primary, &peppers, after, &actor).await.context("stopped; begin again to go on")?;
            rotated += batch.rotated;
            let Some(next) = batch.next else { return Ok(rotated) };
            after = Some(next);
            if rotated.is_multiple_of(10_000) {
                super::output::remark(&format!("{rotated} keys so far"))?;
            }
        }
    })
    .await?;
    super::say(&format!("{rotated} keys have pepper {} outermost now; all others had it already\n", peppers.current()));
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
