//! Three regions with addresses of their own: network namespaces, with a `PostgreSQL` server, a service and two nodes in each.
//!
//! The same as [`crate::regions`] to whoever tries something ([`crate::site::Site`]), but nothing is shared here: who speaks with another
//! region sends packets there, over TLS with certificates that name the addresses, and rules of the kernel drop them. What is delayed is
//! delayed by [`crate::fault::Proxy`], on the router in the middle. All of the connections between regions go that way: replication, nodes to
//! database servers, and nodes to services. Clients stand beside each region.
//!
//! It needs root. Everything ends with the value; what a run that was killed has left is removed by the next one.

mod files;
mod network;
mod servers;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;

use self::files::{CONTROL_PORTS, DATA_PORTS, POSTGRES_PORT, SERVICE_PORT};
use self::network::{Network, PLACES, address, on_behalf};
use self::servers::Servers;
use crate::client::{self, Version};
use crate::dev::{self, Dev, Ready, RegionReady, Role};
use crate::fault::{Direction, Proxy};
use crate::node::Node;
use crate::regions::{Distance, Member};
use crate::sql::Sql;
use crate::wait;

/// The regions, the writer's first.
const NAMES: [&str; PLACES.len()] = ["eu-west", "us-east", "ap-south"];
/// How long a server may take to follow, and a node to serve.
const WITHIN: Duration = Duration::from_mins(1);

/// Why it cannot be started here, if it cannot.
pub fn obstacle() -> Option<String> {
    network::obstacle()
}

/// Does work in a testbed, on a thread of its own: no other can reach the regions.
///
/// # Errors
/// When the testbed does not come up, or the work fails.
pub fn with<T: Send>(distance: Distance, work: impl AsyncFnOnce(Testbed) -> Result<T> + Send) -> Result<T> {
    let network = std::sync::Arc::new(Network::new()?);
    let inside = || {
        network.enter()?;
        // Its threads are started by this one, and so they are on the router, too.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("no runtime")?;
        runtime.block_on(async {
            let testbed = Box::pin(Testbed::start(std::sync::Arc::clone(&network), distance)).await?;
            work(testbed).await
        })
    };
    std::thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|_| anyhow::bail!("the thread in the testbed has panicked"))
}

/// A running testbed. Everything ends with it.
#[derive(Debug)]
pub struct Testbed {
    members: Vec<Member>,
    _servers: Servers,
    _lines: Vec<Proxy>,
    database: Sql,
    document: PathBuf,
    ready: Ready,
    network: std::sync::Arc<Network>,
    _folder: tempfile::TempDir,
}

impl Testbed {
    /// Starts it, and waits until each node serves the first key where confirmed keys are demanded.
    ///
    /// `causeway dev` makes what an operator would: databases, secrets, the first key. Then it ends, and its data are taken over.
    async fn start(network: std::sync::Arc<Network>, distance: Distance) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("cw{}-", std::process::id())).tempdir()?;
        // The servers run as another user, and must reach their folders.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let dev = Dev::start_in(folder.path()).await?;
        let mut ready = dev.ready().clone();
        let root = ready.ca.parent().and_then(Path::parent).context("the CA lies in no folder")?.to_owned();
        let (primary, password) = (dev.writer()?.postgres_data_dir.clone(), files::secret(&root, "postgres-superuser")?);
        let document = root.join("gateway.testbed.yaml");
        std::fs::write(&document, files::document(&std::fs::read_to_string(root.join("gateway.yaml"))?, &NAMES)?)?;
        dev::apply(&document, &dev.writer()?.control, &ready).await?;
        dev.stop().await?;

        let hosts: Vec<String> = (0..NAMES.len()).map(|region| address(region).to_string()).collect();
        ready.ca = app::certs::development(&root.join("tls"), &hosts, time::OffsetDateTime::now_utc())?.ca;
        let lines = lines(&network, distance).await?;
        let database = Sql::at(address(0).into(), POSTGRES_PORT, &password)?;
        let servers = Servers::start(&network, &root, &primary, &database, &NAMES).await?;
        ready.regions.clear();
        let mut testbed = Self { members: Vec::new(), _servers: servers, _lines: lines, database, document, ready, network, _folder: folder };
        testbed.start_nodes(&root).await?;
        Ok(testbed)
    }

    /// The names of the regions, the writer's first.
    pub fn names(&self) -> &[&'static str] {
        &NAMES
    }

    /// All nodes, region by region.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// What a client needs: the CA, the first key, the operator's token.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// A way into the primary.
    pub fn primary(&self) -> &Sql {
        &self.database
    }

    /// A way into the server that a region reads.
    ///
    /// # Errors
    /// When no binaries are installed.
    pub fn server(&self, region: usize) -> Result<Sql> {
        Sql::at(address(region).into(), POSTGRES_PORT, self.database.password())
    }

    /// Applies the demo's document for these regions, edited.
    ///
    /// # Errors
    /// When it is refused; the message says why.
    pub async fn apply(&self, edit: impl FnOnce(&str) -> Result<String>) -> Result<()> {
        let text = edit(&std::fs::read_to_string(&self.document)?)?;
        let file = self.document.with_file_name("gateway.edited.yaml");
        std::fs::write(&file, text)?;
        let first = self.members.first().context("there is no node")?;
        dev::apply(&file, &first.node.region().control, &self.ready).await
    }

    /// Drops each packet between a region and the others. Nobody is told.
    ///
    /// # Errors
    /// When the rules are refused.
    pub fn cut_off(&self, region: usize) -> Result<()> {
        self.network.cut_off(region)
    }

    /// Ends that. Whoever has something to say says it when it is its time to say it again.
    ///
    /// # Errors
    /// When the rules are refused.
    pub fn rejoin(&self, region: usize) -> Result<()> {
        self.network.rejoin(region)
    }

    /// Drops so many of a hundred packets between regions, by chance; 0 for none.
    ///
    /// # Errors
    /// When the rules are refused.
    pub fn lose(&self, of_a_hundred: u32) -> Result<()> {
        self.network.lose(of_a_hundred)
    }

    /// Packets that were dropped so far: those between regions that were cut off from each other, and those that were lost.
    ///
    /// # Errors
    /// When the counters cannot be read.
    pub fn dropped(&self) -> Result<[u64; 2]> {
        self.network.dropped()
    }

    /// Stops everything.
    ///
    /// # Errors
    /// When a node has ended before, or does not end.
    pub async fn stop(mut self) -> Result<()> {
        for member in &mut self.members {
            ensure!(member.node.process().is_alive(), "{} has ended", member.name);
            member.node.kill().await?;
        }
        Ok(())
    }

    async fn start_nodes(&mut self, root: &Path) -> Result<()> {
        let mut made = Vec::new();
        for (region, name) in NAMES.into_iter().enumerate() {
            std::fs::create_dir_all(root.join(name))?;
            for (number, (data, control)) in (1..).zip(DATA_PORTS.into_iter().zip(CONTROL_PORTS)) {
                let file = root.join(name).join(format!("testbed-{number}.yaml"));
                std::fs::write(&file, files::node(region, number, [data, control], &NAMES))?;
                let url = |port: u16| format!("https://{}", SocketAddr::from((address(region), port)));
                let place = RegionReady {
                    name: name.to_owned(),
                    role: if region == 0 { Role::Writer } else { Role::Reader },
                    data: url(data),
                    control: url(control),
                    node_pid: 0,
                    spool_dir: file.with_file_name(format!("spool-{number}")),
                    node_config: file,
                    postgres_port: POSTGRES_PORT,
                    postgres_pid: 0,
                    postgres_data_dir: servers::folder(root, name),
                };
                made.push((format!("{name}-{number}"), region, place));
            }
        }
        let program = root.with_file_name("causeway").display().to_string();
        let started = made.into_iter().map(async |(name, region, place)| {
            let mut words = self.network.start_in(region, None, "KILL");
            words.extend([program.clone(), "serve".to_owned(), "--config".to_owned(), place.node_config.display().to_string()]);
            let node = Node::launched(place, &self.ready.ca, &words, &[servers::PATH]).await.with_context(|| name.clone())?;
            anyhow::Ok(Member::of(name, region, node))
        });
        let members = try_join_all(started).await?;
        self.ready.regions = members.iter().map(|member| member.node.region().clone()).collect();
        self.members = members;
        self.wait_serving().await
    }

    /// Waits until every node serves the first key where confirmed keys are demanded.
    ///
    /// # Errors
    /// When one does not; the message names it.
    pub async fn wait_serving(&self) -> Result<()> {
        let client = client::http(&self.ready.ca, Version::Http1)?;
        try_join_all(self.members.iter().map(async |member| {
            let url = format!("{}/demo/v1/finance/echo", member.node.region().data);
            let served = async || {
                let request = client.get(&url).header("x-api-key", &self.ready.api_key).timeout(Duration::from_secs(5));
                request.send().await.is_ok_and(|answer| answer.status() == 200)
            };
            wait::until(&format!("{} to serve", member.name), WITHIN, served).await
        }))
        .await?;
        Ok(())
    }
}

/// The proxies between all regions.
async fn lines(network: &Network, distance: Distance) -> Result<Vec<Proxy>> {
    let mut lines = Vec::new();
    for (from, to) in (0..NAMES.len()).flat_map(|from| (0..NAMES.len()).map(move |to| (from, to))).filter(|(from, to)| from != to) {
        for port in [POSTGRES_PORT, SERVICE_PORT] {
            let proxy = Proxy::between(([0, 0, 0, 0], 0).into(), Some(on_behalf(from, to).into()), (address(to), port).into()).await?;
            for direction in [Direction::Up, Direction::Down] {
                proxy.delay_one_way(direction, distance.least, distance.most.saturating_sub(distance.least));
            }
            network.redirect(from, to, port, proxy.port())?;
            lines.push(proxy);
        }
    }
    Ok(lines)
}
