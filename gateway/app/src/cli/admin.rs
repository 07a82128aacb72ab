//! Verbs that need the control database itself, because there is no operator yet: `migrate`, `admin init`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use model::{
    key::{Peppers, Purpose, fingerprint_plain},
    secret::SecretText,
};
use store::{
    account::invitation::NewInvitation,
    actor::{Actor, ActorKind},
    pool::Primary,
    topology::Topology,
};

use super::NodeArgs;
use crate::{boot, config::NodeConfig, node, wire};

/// How long the link of an operator can be opened.
const INVITATION_SECONDS: i64 = 86_400;

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
    /// Invite an operator to the pages: print a link that makes one account, once
    #[command(after_help = "\
Example:
  causeway admin invite --config node.yaml --email alice@example.com --role approver

Open the link in a browser; it works once, and for a day. Roles: viewer, developer, approver, operator, security, auditor, admin.
Exit codes: 0 done, 1 failed.")]
    Invite {
        /// The node file: which database, and where its control listener is
        #[command(flatten)]
        node: NodeArgs,
        /// Whom the account is for
        #[arg(long)]
        email: String,
        /// What they may be
        #[arg(long, default_value = "admin", value_parser = ["viewer", "developer", "approver", "operator", "security", "auditor", "admin"])]
        role: String,
        /// Where people find the pages; the node's own address when absent
        #[arg(long, value_name = "URL")]
        url: Option<String>,
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
    /// Begin an epoch of the control database: after it was restored, before anything else writes to it
    #[command(after_help = "\
Examples:
  causeway admin begin-epoch --config node.yaml
  causeway admin begin-epoch --config node.yaml --above 3    # when nodes say that they know of epoch 3

Every node then loads everything once, and takes nothing for what it knew under the same numbers. Exit codes: 0 done, 1 failed.")]
    BeginEpoch {
        /// The node file: which database
        #[command(flatten)]
        node: NodeArgs,
        /// The highest epoch that a node knows of, if it is above the database's own
        #[arg(long, default_value_t = 0, value_name = "EPOCH")]
        above: u32,
    },
}

/// Does it.
///
/// # Errors
/// When the database cannot be reached or written.
pub async fn run(verb: AdminVerb) -> Result<()> {
    match verb {
        AdminVerb::Init { node, name } => init(&node, &name).await,
        AdminVerb::Invite { node, email, role, url } => Box::pin(invite(&node, &email, &role, url.as_deref())).await,
        AdminVerb::RotatePepper { node } => Box::pin(rotate_pepper(&node)).await,
        AdminVerb::BeginEpoch { node, above } => begin_epoch(&node, above.into()).await,
    }
}

async fn invite(node: &NodeArgs, email: &str, role: &str, url: Option<&str>) -> Result<()> {
    let is_origin = |url: &str| url::Url::parse(url).is_ok_and(|url| url.scheme() == "https" && url.path() == "/" && url.query().is_none());
    ensure!(url.is_none_or(is_origin), "`--url` takes the address of a control listener, such as https://gateway.example.com:9443");
    let email = email.trim().to_lowercase();
    ensure!(control::email::is_address(&email), "`{email}` is not a mail address, such as alice@example.com");
    let config = boot::node_config(&node.config)?;
    let base = url.map_or_else(|| format!("https://{}", config.control.listen), |url| url.trim_end_matches('/').to_owned());
    let code = with_primary(&config, async |primary| create_invitation(&primary, &email, role).await).await?;
    super::say(&format!("{}\n", invitation_link(&base, &code)));
    Ok(())
}

/// The link of an invitation. The code stands behind a `#`, which browsers do not send, so that no log on the way has it.
pub fn invitation_link(control: &str, code: &SecretText) -> String {
    format!("{control}/portal/invitation#{}", code.expose_secret())
}

/// Makes an invitation for an operator.
///
/// # Errors
/// When it cannot be stored.
pub async fn create_invitation(primary: &Primary, email: &str, role: &str) -> Result<SecretText> {
    let mut random = [0; 32];
    wire::random()(&mut random);
    let code = data_encoding::BASE64URL_NOPAD.encode(&random);
    let expires_at = edge::clock::Clock.wall().plus_seconds(INVITATION_SECONDS);
    let actor = Actor { kind: ActorKind::Cli, name: "causeway admin".to_owned() };
    let new = NewInvitation { digest: &fingerprint_plain(code.as_bytes()), email, team: None, role: Some(role), expires_at };
    store::account::invitation::create(primary, new, &actor).await.context("the invitation could not be stored")?;
    Ok(SecretText::new(code))
}

async fn init(node: &NodeArgs, name: &str) -> Result<()> {
    let config = boot::node_config(&node.config)?;
    let peppers = boot::peppers(&config.secrets.peppers)?;
    let token = with_primary(&config, async |primary| create_operator(&primary, &peppers, name, "admin").await).await?;
    super::say(&format!("{}\n", token.expose_secret()));
    Ok(())
}

async fn begin_epoch(node: &NodeArgs, above: u64) -> Result<()> {
    let config = boot::node_config(&node.config)?;
    let actor = Actor { kind: ActorKind::Cli, name: "causeway admin".to_owned() };
    let begun = with_primary(&config, async |primary| Ok(store::epoch::begin(&primary, above, &actor).await?)).await?;
    super::say(&format!("the control database is in epoch {} now\n", begun.epoch));
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
