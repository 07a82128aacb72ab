//! The deployment: two nodes, and beside it the chains that they front.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use harness::client::{self, Version};
use harness::dev::{self, Dev};
use harness::node::{Node, Under};
use harness::sql::Sql;
use harness::wait;
use model::secret::SecretText;
use tokio::time::Instant;

use super::chain::{Beside, Chain, Proof};
use super::clients::Clients;
use super::document;
use super::gate::{Gate, Sends};
use super::record::Way;

/// How long nodes may take to go by the document, and to know all positions.
const SERVED_WITHIN: Duration = Duration::from_secs(40);
/// All clients of the claim come from one address, and ask for what is refused on purpose.
const WIDE: &str = "cores: 1\nlimits: { failures_per_prefix: 10000000, handshakes_per_address: 1000000 }\n";
/// Domains whose promotions can be proved; the one behind them is the one whose cannot.
const DOMAINS_PROVED: usize = 3;
/// By how much a fork is said to lie later than it does, in bytes of the log.
const LATER: u64 = 1 << 28;

/// What is started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) domains: usize,
    pub(super) sends: Sends,
    pub(super) beside: Beside,
}

pub(super) struct Ground {
    gate: Gate,
    chains: Vec<Chain>,
    nodes: Vec<Node>,
    dev: Dev,
    _dir: tempfile::TempDir,
}

impl Ground {
    pub(super) async fn start(plan: Plan) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("causeway-failover-").tempdir()?;
        // The servers run as another user where this runs as root, and must reach their folders.
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let dev = Dev::start().await?;
        let root = dev.ready().ca.parent().and_then(std::path::Path::parent).context("the CA lies in no folder")?;
        let password = std::fs::read_to_string(root.join("secrets/demo-password")).context("the demo's password")?;
        let password = SecretText::new(password.trim().to_owned());
        let names: Vec<String> = (0..plan.domains).map(|number| format!("d{number}")).collect();
        let started = names.into_iter().enumerate().map(|(number, name)| {
            let proof = if number == DOMAINS_PROVED { Proof::Sight } else { Proof::History };
            Chain::start(name, dir.path(), &password, plan.beside, proof)
        });
        let chains = try_join_all(started).await?;

        let mut nodes = dev.ready().regions.iter().map(|region| Node::adopt(&dev, region)).collect::<Result<Vec<_>>>()?;
        for node in &mut nodes {
            node.kill().await?;
            node.reconfigure(|text| with_domains(text, &chains))?;
            node.start(Under::Bare).await?;
        }
        let gate = Gate {
            client: client::http(&dev.ready().ca, Version::Http1)?,
            nodes: nodes.iter().map(|node| node.region().data.clone()).collect(),
            sends: plan.sends,
            began: Instant::now(),
        };
        let ground = Self { gate, chains, nodes, dev, _dir: dir };
        ground.apply().await?;
        ground.settled().await?;
        Ok(ground)
    }

    /// The way in, and the databases behind it.
    pub(super) fn parts(&mut self) -> (&Gate, &mut [Chain]) {
        (&self.gate, &mut self.chains)
    }

    /// From here on the control database says of each epoch that it left the one before later than it did.
    pub(super) async fn forget_forks(&self) -> Result<()> {
        let control = Sql::open(self.dev.writer()?.postgres_port, &self.dev.reader()?.postgres_data_dir)?;
        let function = format!(
            "create function fork_later() returns trigger language plpgsql as \
             $$ begin new.fork_lsn := new.fork_lsn + {LATER}; return new; end $$"
        );
        control.ask("causeway", &function).await?;
        control.ask("causeway", "create trigger fork_later before insert on domain_epoch for each row execute function fork_later()").await?;
        Ok(())
    }

    /// Stops everything.
    pub(super) async fn stop(mut self) -> Result<()> {
        for node in &mut self.nodes {
            ensure!(node.process().is_alive(), "a node has ended under the claim");
            node.kill().await?;
        }
        try_join_all(self.chains.into_iter().map(Chain::stop)).await?;
        self.dev.stop().await
    }

    async fn apply(&self) -> Result<()> {
        let ready = self.dev.ready();
        let file = ready.ca.with_file_name("failover.json");
        std::fs::write(&file, document::document(&self.chains).to_string())?;
        let done = tokio::process::Command::new(dev::binary()?)
            .args(["apply", "-f"])
            .arg(&file)
            .env("CAUSEWAY_CONTROL", &self.dev.writer()?.control)
            .env("CAUSEWAY_TOKEN", &ready.operator_token)
            .env("CAUSEWAY_CA", &ready.ca)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        ensure!(done.status.success(), "apply: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    /// Waits until each node tells positions on every route, and reads by them.
    async fn settled(&self) -> Result<()> {
        let ways = self.chains.iter().flat_map(|chain| Way::all().map(move |way| (chain, way)));
        try_join_all(ways.enumerate().map(async |(number, (chain, way))| {
            let random = harness::seed::Random::new(0);
            let clients = Clients::new(&self.gate, chain.name.clone(), format!("{}-settled-{number}", chain.name), random);
            let what = format!("{} through {way:?}", chain.name);
            wait::until(&what, SERVED_WITHIN, async || {
                let Some(stake) = clients.write(way, None).await.stake else { return false };
                self.gate.read(&chain.name, way, &stake).await.entry.shows_own()
            })
            .await
        }))
        .await?;
        Ok(())
    }
}

/// The node file with an entry for each domain.
fn with_domains(text: &str, chains: &[Chain]) -> String {
    let entry = |chain: &Chain| format!("- {{ name: {}, database: demo, user: demo, password: \"file:../secrets/demo-password\" }}", chain.name);
    let entries: Vec<String> = std::iter::once("domains:".to_owned()).chain(chains.iter().map(entry)).collect();
    format!("{}{WIDE}", text.replace("domains:\n", &format!("{}\n", entries.join("\n"))))
}
