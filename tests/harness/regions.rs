//! Several regions with two nodes each, and lines between them that are long, and can be cut.
//!
//! It is a `causeway dev` deployment with more beside it: a streaming standby and a demo service that reads it for each further region, a
//! standby beside the primary that commits can wait for, and more nodes. Whatever of the control database crosses from one region to another goes through a
//! [`crate::fault::Proxy`]: replication, and each connection of a node to a server of another region. Requests of clients, and those of
//! nodes to services and to the services' own databases, take no such line.

mod faults;
mod files;
mod lines;
mod services;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use app::postgres::{Binaries, Cluster, Fsync, Stop, Upstream};
use edge::listener::{self, Reserved};
use futures_util::future::try_join_all;

use self::files::Further;
use self::lines::Lines;
use self::services::Services;
use crate::client::{self, Version};
use crate::dev::{self, Dev, RegionReady, Role};
use crate::node::{self, Node};
use crate::sql::Sql;
use crate::wait;

/// The regions that there can be, the writer's first; the first two are those of `causeway dev`.
pub const NAMES: [&str; 5] = ["eu-west", "us-east", "ap-south", "sa-east", "af-north"];
/// Nodes in each region.
const NODES_EACH: usize = 2;
/// The standby beside the primary: its slot, which is its application name, too.
const PARTNER: &str = "eu_west_2";
/// How long a server may take to follow, and a node to serve.
const WITHIN: Duration = Duration::from_secs(40);

/// For what a commit waits on the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quorum {
    /// For nothing: what is committed may be lost in a promotion, and no bound can be proved.
    Asynchronous,
    /// For the standby beside the primary, without the way to another region.
    InRegion,
    /// For one of the standbys of the other regions; each commit then pays the way there and back.
    OtherRegion,
}

/// What a line between two regions costs, each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distance {
    /// At least.
    pub least: Duration,
    /// At most; each piece draws its own between them.
    pub most: Duration,
}

impl Distance {
    /// 75 to 150 ms each way: two continents.
    pub const CONTINENTS: Self = Self { least: Duration::from_millis(75), most: Duration::from_millis(150) };
}

/// What is started.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many regions, two to five.
    pub regions: usize,
    /// For what commits wait.
    pub quorum: Quorum,
    /// How far the regions are from each other.
    pub distance: Distance,
}

/// One node, by its place.
#[derive(Debug)]
pub struct Member {
    /// Its name in the deployment.
    pub name: String,
    /// The index of its region.
    pub region: usize,
    /// The process.
    pub node: Node,
    _ports: Vec<Reserved>,
}

impl Member {
    /// A node that has its ports to itself.
    pub(crate) fn of(name: String, region: usize, node: Node) -> Self {
        Self { name, region, node, _ports: Vec::new() }
    }
}

/// A database server, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Server {
    region: usize,
    port: u16,
}

/// A standby that `causeway dev` does not know.
#[derive(Debug)]
struct Standby {
    region: usize,
    cluster: Cluster,
}

/// A running deployment. Everything ends with it.
#[derive(Debug)]
pub struct Regions {
    members: Vec<Member>,
    standbys: Vec<Standby>,
    services: Services,
    lines: Lines,
    /// The regions from the third on.
    further: Vec<Further>,
    database: Sql,
    document: PathBuf,
    names: Vec<&'static str>,
    dev: Dev,
}

impl Regions {
    /// Starts a deployment and waits until each node serves the first key where confirmed keys are demanded.
    ///
    /// # Errors
    /// When a part does not come up; the message says which.
    ///
    /// # Cancel
    /// A dropped future stops what it had started.
    pub async fn start(plan: Plan) -> Result<Self> {
        let names = NAMES.get(..plan.regions).filter(|names| names.len() > 1).context("there are two to five regions")?.to_vec();
        let dev = Dev::start().await?;
        let (writer, reader) = (dev.writer()?.clone(), dev.reader()?.clone());
        let database = Sql::open(writer.postgres_port, &reader.postgres_data_dir)?;
        let root = root(&dev)?;
        let document = root.join("gateway.yaml");

        let mut lines = Lines::of_length(plan.distance);
        node::stream_through(&reader, lines.replication(1, writer.postgres_port).await?)?;
        let standbys = standbys(&root, &names, &database, writer.postgres_port, plan.quorum, &mut lines).await?;
        wait::until("replication through the lines", WITHIN, async || lines.replicate()).await?;
        synchronize(&database, &names, plan.quorum).await?;

        let mut servers = vec![Server { region: 0, port: writer.postgres_port }, Server { region: 1, port: reader.postgres_port }];
        servers.extend(standbys.iter().map(|standby| Server { region: standby.region, port: standby.cluster.port() }));
        let (mut services, mut further) = (Services::none(&root)?, Vec::new());
        for (region, name) in names.iter().copied().enumerate().skip(2) {
            let standby = servers.iter().find(|server| server.region == region).context("a region without a server")?.port;
            further.push(Further { name, service: services.add(name, standby).await?, standby });
        }
        let mut regions = Self { members: Vec::new(), standbys, services, lines, further, database, document, names, dev };
        if plan.regions > 2 {
            regions.apply(str::to_owned).await?;
        }
        regions.start_nodes(&servers).await?;
        Ok(regions)
    }

    /// The names of the regions, the writer's first.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// All nodes, region by region.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The first node beside the primary.
    ///
    /// # Errors
    /// Never once [`Regions::start`] has answered.
    pub fn writer(&self) -> Result<&RegionReady> {
        Ok(self.members.first().context("there is no node")?.node.region())
    }

    /// The deployment beneath.
    pub fn dev(&self) -> &Dev {
        &self.dev
    }

    /// A direct way into the primary.
    pub fn primary(&self) -> &Sql {
        &self.database
    }

    /// Applies the demo's document for these regions, edited.
    ///
    /// # Errors
    /// When it is refused; the message says why.
    pub async fn apply(&self, edit: impl FnOnce(&str) -> String) -> Result<()> {
        let text = std::fs::read_to_string(&self.document).with_context(|| format!("cannot read {}", self.document.display()))?;
        let text = edit(&files::document(&text, &self.further)?);
        let file = self.document.with_file_name("gateway.regions.yaml");
        std::fs::write(&file, text)?;
        let ready = self.dev.ready();
        // The nodes of `causeway dev` are gone once there are others.
        let node = self.members.first().map_or(self.dev.writer()?, |member| member.node.region());
        dev::apply(&file, &node.control, ready).await
    }

    /// Waits until every node serves the first key where confirmed keys are demanded.
    ///
    /// # Errors
    /// When one does not; the message names it.
    pub async fn wait_serving(&self) -> Result<()> {
        let client = client::http(&self.dev.ready().ca, Version::Http1)?;
        try_join_all(self.members.iter().map(async |member| {
            let url = format!("{}/demo/v1/finance/echo", member.node.region().data);
            let served = async || {
                let request = client.get(&url).header("x-api-key", &self.dev.ready().api_key).timeout(Duration::from_secs(5));
                request.send().await.is_ok_and(|answer| answer.status() == 200)
            };
            wait::until(&format!("{} to serve", member.name), WITHIN, served).await
        }))
        .await?;
        Ok(())
    }

    /// Joins what is cut off, and stops everything.
    ///
    /// # Errors
    /// As [`Dev::stop`], and when a node or a standby does not end.
    pub async fn stop(mut self) -> Result<()> {
        self.lines.heal();
        // Not stopped in order: that would wait for the connections that clients have left.
        try_join_all(self.members.iter_mut().map(|member| member.node.kill())).await?;
        // A primary that still waits for its partner would not let its last sessions end.
        self.database.ask("postgres", "alter system reset synchronous_standby_names").await?;
        self.database.ask("postgres", "select pg_reload_conf()").await?;
        self.services.stop().await;
        for standby in &mut self.standbys {
            standby.cluster.stop(Stop::Fast).await?;
        }
        self.dev.stop().await
    }

    /// Takes over from the nodes of `causeway dev`, and starts all those of the deployment over the lines.
    async fn start_nodes(&mut self, servers: &[Server]) -> Result<()> {
        let firsts = [self.dev.writer()?.clone(), self.dev.reader()?.clone()];
        let mut models = firsts.iter().map(|region| Node::adopt(&self.dev, region)).collect::<Result<Vec<_>>>()?;
        for model in &mut models {
            model.kill().await?;
        }
        let [first, second] = &firsts;
        let root = root(&self.dev)?;
        let mut made = Vec::new();
        for (region, name) in self.names.clone().into_iter().enumerate() {
            let base = std::fs::read_to_string(if region == 0 { &first.node_config } else { &second.node_config })?;
            let from = if region == 0 { first } else { second };
            let mut reached = Vec::new();
            for server in servers {
                let port = if server.region == region { server.port } else { self.lines.node(region, server.region, server.port).await? };
                reached.push((port, NAMES.get(server.region).copied().unwrap_or_default()));
            }
            std::fs::create_dir_all(root.join(name))?;
            for number in 1..=NODES_EACH {
                let [data, control] = [reserve()?, reserve()?];
                let ports = [&data, &control].map(|port| port.address().port());
                let file = root.join(name).join(format!("node-{number}.yaml"));
                let node = files::Own { node: format!("{name}-{number}"), region: name, number, ports, servers: &reached };
                std::fs::write(&file, files::node(&base, from, &node)?)?;
                let place = RegionReady {
                    name: name.to_owned(),
                    role: if region == 0 { Role::Writer } else { Role::Reader },
                    data: format!("https://127.0.0.1:{}", ports[0]),
                    control: format!("https://127.0.0.1:{}", ports[1]),
                    spool_dir: file.with_file_name(format!("spool-{number}")),
                    node_config: file,
                    ..from.clone()
                };
                made.push((node.node, region, place, [data, control]));
            }
        }
        let [model, ..] = models.as_slice() else { anyhow::bail!("there is no node") };
        let started = made.into_iter().map(async |(name, region, place, ports)| {
            let node = model.beside(place).await.with_context(|| name.clone())?;
            anyhow::Ok(Member { name, region, node, _ports: ports.into() })
        });
        self.members = try_join_all(started).await?;
        self.wait_serving().await
    }
}

/// The deployment's folder.
fn root(dev: &Dev) -> Result<PathBuf> {
    Ok(dev.ready().ca.parent().and_then(Path::parent).context("the CA lies in no folder")?.to_owned())
}

fn reserve() -> Result<Reserved> {
    listener::reserve(([127, 0, 0, 1], 0).into()).context("no free port")
}

/// The name of a standby's slot, by which the primary knows it.
fn slot(region: &str) -> String {
    region.replace('-', "_")
}

/// The standbys that `causeway dev` has not, with their regions.
async fn standbys(root: &Path, names: &[&str], database: &Sql, primary: u16, quorum: Quorum, lines: &mut Lines) -> Result<Vec<Standby>> {
    let binaries = Binaries::find(None)?;
    let mut wanted = Vec::new();
    if quorum == Quorum::InRegion {
        wanted.push((0, PARTNER.to_owned(), primary, Fsync::On));
    }
    for (region, name) in names.iter().enumerate().skip(2) {
        // What these have received counts for no commit, so they need not outlive a power loss.
        wanted.push((region, slot(name), lines.replication(region, primary).await?, Fsync::Off));
    }
    let started = wanted.into_iter().map(async |(region, slot, stream_port, fsync)| {
        let upstream = Upstream { port: primary, stream_port, password: database.password().to_owned().into() };
        let cluster = Cluster::standby(&binaries, &root.join("postgres").join(&slot), 0, &upstream, &slot, fsync).await;
        anyhow::Ok(Standby { region, cluster: cluster.with_context(|| format!("the standby {slot}"))? })
    });
    try_join_all(started).await
}

/// Lets commits wait, and waits until the primary says that they do.
async fn synchronize(database: &Sql, names: &[&str], quorum: Quorum) -> Result<()> {
    let standbys = match quorum {
        Quorum::Asynchronous => return Ok(()),
        Quorum::InRegion => vec![PARTNER.to_owned()],
        Quorum::OtherRegion => names.iter().skip(1).map(|name| slot(name)).collect(),
    };
    let list = format!("alter system set synchronous_standby_names = 'ANY 1 ({})'", standbys.join(", "));
    database.ask("postgres", &list).await?;
    database.ask("postgres", "select pg_reload_conf()").await?;
    let count = "select count(*) from pg_stat_replication where sync_state = 'quorum'";
    wait::until("a quorum", WITHIN, async || {
        let rows = database.ask("postgres", count).await.unwrap_or_default().concat();
        rows.parse::<usize>().is_ok_and(|n| n == standbys.len())
    })
    .await?;
    Ok(())
}
