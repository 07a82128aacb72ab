//! A deployment whose control database runs under Patroni: that of `causeway dev`, moved there.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::dev::{self, Dev, RegionReady};
use harness::node::{Node, Under};
use harness::patroni::{Patroni, Replication};
use harness::sql::Sql;
use harness::wait;

use super::load::FINANCE;
use crate::api::Api;

/// How long nodes may take to serve from the database in its new place.
const SERVES_WITHIN: Duration = Duration::from_secs(40);
/// The region of each server.
const REGIONS: [&str; 3] = ["eu-west", "us-east", "eu-west"];

/// All that runs.
pub(super) struct Ground {
    pub(super) api: Api,
    pub(super) patroni: Patroni,
    nodes: Vec<Node>,
    dev: Dev,
}

impl Ground {
    /// Starts a deployment, takes its database over, and restarts its two nodes on that. With `is_narrow` they are told of the first leader alone.
    pub(super) async fn start(replication: Replication, is_narrow: bool) -> Result<Self> {
        let (dev, patroni) = tokio::try_join!(Dev::start(), Patroni::start(replication))?;
        let api = Api::of(dev.ready())?;
        unhurried(&dev).await?;
        let mut nodes = dev.ready().regions.iter().map(|region| Node::adopt(&dev, region)).collect::<Result<Vec<_>>>()?;
        for node in &mut nodes {
            node.kill().await?;
        }
        let root = dev.ready().ca.parent().and_then(Path::parent).context("the CA lies in no folder")?;
        let password = std::fs::read_to_string(root.join("secrets/causeway-password")).context("the database's password")?;
        let before = Sql::open(dev.writer()?.postgres_port, &dev.reader()?.postgres_data_dir)?;
        patroni.restore("causeway", "causeway", password.trim(), &before.dump("causeway").await?).await?;

        let leader = patroni.leader().await?;
        let servers: Vec<(u16, &str)> = patroni.ports().into_iter().zip(REGIONS).collect();
        let servers = if is_narrow { servers.get(leader..=leader).unwrap_or_default() } else { &servers };
        for node in &mut nodes {
            node.reconfigure(|text| with_servers(text, servers))?;
            node.start(Under::Bare).await?;
        }
        let ground = Self { api, patroni, nodes, dev };
        for region in ground.regions() {
            // A strict route: its keys were confirmed by the database that is there now.
            let confirmed = async || ground.api.get(&region, FINANCE, ground.api.first_key()).await.is_ok_and(|answer| answer.status == 200);
            wait::until(&format!("{} to serve", region.name), SERVES_WITHIN, confirmed).await?;
        }
        Ok(ground)
    }

    pub(super) fn regions(&self) -> Vec<RegionReady> {
        self.nodes.iter().map(|node| node.region().clone()).collect()
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.kill().await?;
        }
        self.patroni.stop().await?;
        let stopped = self.dev.stop().await;
        ensure!(stopped.is_ok(), "the deployment beneath: {stopped:?}");
        Ok(())
    }
}

/// Lets routes answer before their record is on disk: this is not about the disk, which four database servers share with a build perhaps.
async fn unhurried(dev: &Dev) -> Result<()> {
    let root = dev.ready().ca.parent().and_then(Path::parent).context("the CA lies in no folder")?;
    let mut text = std::fs::read_to_string(root.join("gateway.yaml")).context("the demo's document")?;
    for preset in ["finance", "health", "social"] {
        text = text.replace(&format!("  consistency: {preset}\n"), &format!("  consistency: {preset}\n  audit: buffered\n"));
    }
    let file = root.join("gateway.unhurried.yaml");
    std::fs::write(&file, text)?;
    let done = tokio::process::Command::new(dev::binary()?)
        .args(["apply", "-f"])
        .arg(&file)
        .env("CAUSEWAY_CONTROL", &dev.writer()?.control)
        .env("CAUSEWAY_TOKEN", &dev.ready().operator_token)
        .env("CAUSEWAY_CA", &dev.ready().ca)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(done.status.success(), "apply: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// A node file with other servers. Clients come from one address and ask for keys that were revoked, so its limits are wide.
fn with_servers(text: &str, servers: &[(u16, &str)]) -> String {
    let named = servers.iter().map(|(port, region)| format!("  - {{ address: \"127.0.0.1:{port}\", region: {region} }}"));
    let list = named.collect::<Vec<_>>().join("\n");
    let lines = text.lines().filter(|line| !line.starts_with("  - {"));
    let lines = lines.map(|line| if line == "  servers:" { format!("{line}\n{list}") } else { line.to_owned() });
    let limits = "limits: { failures_per_prefix: 100000, handshakes_per_address: 10000 }\n";
    lines.chain([limits.to_owned()]).collect::<Vec<_>>().join("\n")
}
