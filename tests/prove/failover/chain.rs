//! The database of one fronted service: three servers, each of which streams from the one before it, and the service of each one's region.
//!
//! The three stand in a circle: whichever writes, the next one streams from it, and the one after that from the next. So whoever is promoted
//! has its own standby already, and what was replaced comes back behind the last one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use app::dev::demo::{self, Demo};
use app::postgres::{Binaries, Cluster, Fsync, SUPERUSER, Stop, Upstream};
use edge::listener::{self, Reserved};
use harness::fault::{Direction, Proxy};
use harness::process::Process;
use harness::wait;
use model::secret::SecretText;
use store::bootstrap::{self, Which};
use store::demo::DemoDatabase;
use store::pool::{Credentials, Tls};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// The region of each server, and of the service that uses it.
pub(super) const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];
const SERVERS: usize = REGIONS.len();
/// How often a server is made a standby before that is given up, and how long is waited in between.
const REBUILDS_MAX: u32 = 5;
const BETWEEN_REBUILDS: Duration = Duration::from_millis(500);
/// How long a node may take to ask a server again that was away.
const ASKED_WITHIN: Duration = Duration::from_secs(20);
/// What nodes and a server say to each other over a new connection, and a few samples more.
const ASKED_BYTES: u64 = 3_000;
/// What is written to a promoted server past the gateway, so that its log is longer than the one that was lost.
const PADDING_BYTES: u32 = 1 << 21;

/// Three servers of one database. Everything ends with it.
pub(super) struct Chain {
    /// The domain's name in documents.
    pub(super) name: String,
    binaries: Binaries,
    dir: PathBuf,
    password: String,
    clusters: Vec<Option<Cluster>>,
    ports: Vec<Reserved>,
    /// Over which each server streams from the one before it.
    streams: Vec<Proxy>,
    /// Over which nodes ask each server.
    doors: Vec<Proxy>,
    services: Vec<Reserved>,
    _serving: JoinSet<Result<()>>,
    /// Which one writes.
    pub(super) first: usize,
    pub(super) proof: Proof,
}

/// Whose database the services use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// Each the one of its own region.
    Own,
    /// All of them the one that was the first primary, whatever comes: the mutant.
    First,
}

/// By what a node can tell how far a promoted server had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// By the history of its timeline.
    History,
    /// By what it has seen: its role may not read that history.
    Sight,
}

impl Chain {
    /// Starts the servers and the services. `demo` is the password of the role that the services and the nodes have.
    pub(super) async fn start(name: String, root: &Path, demo: &SecretText, beside: Beside, proof: Proof) -> Result<Self> {
        let binaries = Binaries::find(None)?;
        let dir = root.join(&name);
        let password = format!("super-{name}");
        let ports = reserve()?;
        let (mut streams, mut doors) = (Vec::new(), Vec::new());
        for server in 0..SERVERS {
            streams.push(Proxy::to_port(port(&ports, (server + SERVERS - 1) % SERVERS)).await?);
            doors.push(Proxy::to_port(port(&ports, server)).await?);
        }
        let first = Cluster::primary(&binaries, &dir.join("0"), port(&ports, 0), &password, Fsync::Off).await?;
        // Nothing of this is about a power loss. A standby is copied from a standby, which needs whole pages in the log: copies take this along.
        first.run("postgres", &[], "alter system set full_page_writes = on;\nselect pg_reload_conf()").await?;
        let address = format!("127.0.0.1:{}", first.port());
        let credentials =
            |name: &str, user: &str, password: SecretText| Credentials { name: name.into(), user: user.into(), password, tls: Tls::Plain };
        let admin = credentials("postgres", SUPERUSER, SecretText::new(password.clone()));
        bootstrap::create_if_missing(&address, &admin, Which::Demo, demo).await?;
        DemoDatabase::connect(&address, &credentials("demo", "demo", demo.clone()), 1)?.migrate().await?;
        if proof == Proof::History {
            first.run("demo", &[], "grant execute on function pg_read_file(text) to demo").await?;
        }

        let (services, mut serving) = (reserve()?, JoinSet::new());
        for (server, region) in REGIONS.iter().enumerate() {
            let database = port(&ports, if beside == Beside::First { 0 } else { server });
            let demo = Demo {
                listen: ([127, 0, 0, 1], port(&services, server)).into(),
                region: (*region).to_owned(),
                database: format!("127.0.0.1:{database}"),
                credentials: credentials("demo", "demo", demo.clone()),
            };
            serving.spawn(demo::serve(demo, std::future::pending()));
        }
        let clusters = vec![Some(first), None, None];
        let mut chain = Self { name, binaries, dir, password, clusters, ports, streams, doors, services, _serving: serving, first: 0, proof };
        for server in 1..SERVERS {
            chain.rebuild(server).await?;
        }
        Ok(chain)
    }

    /// The one that streams from a server.
    pub(super) fn behind(server: usize) -> usize {
        (server + 1) % SERVERS
    }

    /// The port by which nodes reach a server.
    pub(super) fn door(&self, server: usize) -> u16 {
        self.doors.get(server).map_or(0, Proxy::port)
    }

    /// The port of the service in a server's region.
    pub(super) fn service(&self, server: usize) -> u16 {
        port(&self.services, server)
    }

    /// Asks a server past the gateway.
    pub(super) async fn ask(&self, server: usize, database: &str, statements: &str) -> Result<String> {
        let text = self.cluster(server)?.run(database, &[], statements).await?;
        Ok(text.trim().to_owned())
    }

    /// How far the log of a primary goes.
    pub(super) async fn written(&self, server: usize) -> Result<String> {
        self.ask(server, "postgres", "select pg_current_wal_insert_lsn()").await
    }

    /// Waits until a standby has replayed the log up to a place.
    pub(super) async fn wait_replayed(&self, server: usize, place: &str) -> Result<()> {
        // In the server, because each question from outside is a process.
        let waiting = format!(
            "set statement_timeout = '30s';\ndo $$ begin while pg_last_wal_replay_lsn() < '{place}' loop perform pg_sleep(0.01); end loop; end $$"
        );
        self.ask(server, "postgres", &waiting).await.with_context(|| format!("server {server} of {} does not catch up", self.name))?;
        Ok(())
    }

    /// From here on a standby gets nothing more, and nobody is told.
    pub(super) fn hold(&self, server: usize) {
        if let Some(stream) = self.streams.get(server) {
            stream.partition();
        }
    }

    /// The nodes hear nothing of a server any more; its service and its standby do.
    pub(super) fn hide(&self, server: usize) {
        if let Some(door) = self.doors.get(server) {
            door.partition();
        }
    }

    /// Ends that.
    pub(super) fn show(&self, server: usize) {
        if let Some(door) = self.doors.get(server) {
            door.rejoin();
        }
    }

    /// Waits until the nodes have asked a server again that they could not reach.
    pub(super) async fn wait_asked(&self, server: usize) -> Result<()> {
        let door = self.doors.get(server).context("there is no such server")?;
        let before = door.bytes(Direction::Down);
        wait::until("nodes that ask a server that came back", ASKED_WITHIN, async || door.bytes(Direction::Down) > before + ASKED_BYTES).await?;
        Ok(())
    }

    /// Promotes a standby, with what it has.
    pub(super) async fn promote(&mut self, server: usize) -> Result<()> {
        let promoted = self.ask(server, "postgres", "select pg_promote(true, 30)").await?;
        ensure!(promoted == "t", "server {server} of {} was not promoted: {promoted}", self.name);
        // Its receiver is gone: what was held has nowhere to arrive.
        if let Some(stream) = self.streams.get(server) {
            stream.rejoin();
        }
        self.first = server;
        Ok(())
    }

    /// Makes the log of a promoted server longer than the one that was lost: numbers alone would tell the lost ones to be there.
    pub(super) async fn outgrow(&self, server: usize, lost: &str) -> Result<()> {
        let grown = format!("select pg_logical_emit_message(false, 'prove', repeat('x', {PADDING_BYTES})) is null");
        self.ask(server, "postgres", &grown).await?;
        let is_longer = self.ask(server, "postgres", &format!("select pg_current_wal_insert_lsn() > '{lost}'")).await?;
        ensure!(is_longer == "t", "the log of server {server} does not reach {lost}: this proves nothing");
        Ok(())
    }

    /// Kills a server with SIGKILL.
    pub(super) async fn kill(&self, server: usize) -> Result<()> {
        Process::of(self.cluster(server)?.pid())?.kill().await
    }

    /// Starts a server that was killed as what it was.
    pub(super) async fn revive(&mut self, server: usize) -> Result<()> {
        let cluster = self.clusters.get_mut(server).and_then(Option::as_mut).context("there is no such server")?;
        cluster.start().await
    }

    /// Makes a server a standby of the one before it, from a copy of that.
    pub(super) async fn rebuild(&mut self, server: usize) -> Result<()> {
        let place = self.clusters.get_mut(server).context("there is no such server")?;
        if let Some(mut old) = place.take() {
            old.stop(Stop::Immediate).await?;
        }
        let stream_port = self.streams.get(server).context("no stream")?.port();
        let source = port(&self.ports, (server + SERVERS - 1) % SERVERS);
        let upstream = Upstream { port: source, stream_port, password: self.password.clone().into() };
        let dir = self.dir.join(server.to_string());
        let slot = format!("server_{server}");
        let mut tries = 0;
        loop {
            tries += 1;
            // On a busy machine a server may not be had at once: this is the ground, and not what is judged.
            match Cluster::standby(&self.binaries, &dir, port(&self.ports, server), &upstream, &slot, Fsync::Off).await {
                Ok(standby) => *place = Some(standby),
                Err(_) if tries < REBUILDS_MAX => {
                    sleep_until(Instant::now() + BETWEEN_REBUILDS).await;
                    continue;
                }
                Err(error) => return Err(error.context(format!("server {server} of {} as a standby", self.name))),
            }
            return Ok(());
        }
    }

    /// The names of all items that a server has, in its own words.
    pub(super) async fn items(&self, server: usize) -> Result<Vec<String>> {
        let text = self.ask(server, "demo", "select name from item").await?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Stops all servers.
    pub(super) async fn stop(mut self) -> Result<()> {
        for cluster in self.clusters.iter_mut().rev().flatten() {
            cluster.stop(Stop::Immediate).await?;
        }
        Ok(())
    }

    fn cluster(&self, server: usize) -> Result<&Cluster> {
        self.clusters.get(server).and_then(Option::as_ref).with_context(|| format!("server {server} of {} is not there", self.name))
    }
}

fn reserve() -> Result<Vec<Reserved>> {
    (0..SERVERS).map(|_| listener::reserve(([127, 0, 0, 1], 0).into()).context("no free port")).collect()
}

fn port(ports: &[Reserved], index: usize) -> u16 {
    ports.get(index).map_or(0, |port| port.address().port())
}
