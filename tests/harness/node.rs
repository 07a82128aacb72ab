//! Nodes that a test kills, restarts and reconfigures, and a two-region deployment with faults between the regions.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::client::{self, Version};
use crate::dev::{Dev, RegionReady};
use crate::fault::Proxy;
use crate::power::{self, Fdatasync, SyncTrace};
use crate::process::Process;
use crate::sql::{self, Sql};
use crate::wait;

/// How long a node may take to answer after its start.
const LIVE_WITHIN: Duration = Duration::from_secs(30);

/// One `causeway serve` process of a deployment, taken over from `causeway dev`.
///
/// `dev` never restarts a node that someone killed, so from the first kill on the node is ours; it ends with this value.
#[derive(Debug)]
pub struct Node {
    region: RegionReady,
    ca: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<OsString>,
    /// The configuration's place in the arguments.
    original: PathBuf,
    config: PathBuf,
    process: Process,
    child: Option<Child>,
    trace: Option<PathBuf>,
    starts: u32,
}

/// What a node runs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Under {
    /// Nothing.
    Bare,
    /// `strace`, so that [`Node::trace`] can tell what was synced.
    Trace(Fdatasync),
}

impl Node {
    /// Takes over the node of a region.
    ///
    /// # Errors
    /// When it does not run.
    pub fn adopt(dev: &Dev, region: &RegionReady) -> Result<Self> {
        let process = Process::of(region.node_pid)?;
        Ok(Self {
            region: region.clone(),
            ca: dev.ready().ca.clone(),
            arguments: process.arguments()?,
            environment: process.environment()?,
            original: region.node_config.clone(),
            config: region.node_config.clone(),
            process,
            child: None,
            trace: None,
            starts: 0,
        })
    }

    /// Starts another node as this one was started, with the node file that `region` names.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn beside(&self, region: RegionReady) -> Result<Self> {
        let mut node = Self {
            config: region.node_config.clone(),
            region,
            ca: self.ca.clone(),
            arguments: self.arguments.clone(),
            environment: self.environment.clone(),
            original: self.original.clone(),
            process: self.process,
            child: None,
            trace: None,
            starts: 0,
        };
        node.launch(Under::Bare).await?;
        Ok(node)
    }

    /// Starts a node of no `causeway dev`, by the words of its command line, and waits until `/livez` answers 200.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub(crate) async fn launched(region: RegionReady, ca: &Path, words: &[String], environment: &[&str]) -> Result<Self> {
        let mut node = Self {
            original: region.node_config.clone(),
            config: region.node_config.clone(),
            region,
            ca: ca.to_owned(),
            arguments: words.iter().map(OsString::from).collect(),
            environment: environment.iter().map(OsString::from).collect(),
            // Until the start: there is none before it.
            process: Process::of(std::process::id())?,
            child: None,
            trace: None,
            starts: 0,
        };
        node.launch(Under::Bare).await?;
        Ok(node)
    }

    /// Its region, as the ready file describes it; the process id there is the first one.
    pub fn region(&self) -> &RegionReady {
        &self.region
    }

    /// The process that runs now, or ran last.
    pub fn process(&self) -> Process {
        self.process
    }

    /// Rewrites the configuration for the next start, into a file beside the original.
    ///
    /// # Errors
    /// When the file cannot be read or written, or when `edit` changed nothing: a fault that was not made proves nothing.
    pub fn reconfigure(&mut self, edit: impl FnOnce(&str) -> String) -> Result<()> {
        let text = std::fs::read_to_string(&self.config).with_context(|| format!("cannot read {}", self.config.display()))?;
        let edited = edit(&text);
        ensure!(edited != text, "the edit of {} changed nothing", self.config.display());
        let path = self.region.node_config.with_extension("edited.yaml");
        std::fs::write(&path, edited).with_context(|| format!("cannot write {}", path.display()))?;
        self.config = path;
        Ok(())
    }

    /// Kills it with SIGKILL and waits until it, and the tracer around it, are gone.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await?;
        self.reap().await
    }

    /// Stops it with SIGTERM and waits for an orderly end.
    ///
    /// # Errors
    /// When it does not end within 20 seconds.
    pub async fn stop(&mut self) -> Result<()> {
        self.process.signal(Signal::TERM);
        self.process.wait_gone(Duration::from_secs(20)).await?;
        self.reap().await
    }

    /// Starts it again with the arguments and environment that it had, and waits until `/livez` answers 200.
    ///
    /// # Errors
    /// When it does not come up; the message holds the end of its log.
    pub async fn start(&mut self, under: Under) -> Result<()> {
        ensure!(!self.process.is_alive(), "the node still runs");
        self.launch(under).await
    }

    async fn launch(&mut self, under: Under) -> Result<()> {
        self.starts += 1;
        let base = self.base();
        let log = base.with_extension(format!("{}.log", self.starts));
        let output = std::fs::File::create(&log)?;
        let arguments = self.arguments();
        let (program, rest) = arguments.split_first().context("a process without a name")?;
        let mut command = match under {
            Under::Bare => Command::new(program),
            Under::Trace(fdatasync) => {
                let trace = base.with_extension(format!("{}.trace", self.starts));
                let mut command = Command::new(power::strace()?);
                command.args(power::arguments(&trace, fdatasync)).arg(program);
                self.trace = Some(trace);
                command
            }
        };
        command.args(rest).env_clear().current_dir("/").stdin(Stdio::null());
        for variable in &self.environment {
            let mut parts = variable.as_bytes().splitn(2, |byte| *byte == b'=');
            if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
                command.env(OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec()));
            }
        }
        let child =
            command.stdout(output.try_clone()?).stderr(output).spawn().with_context(|| format!("cannot start {}", program.to_string_lossy()))?;
        let outer = Process::of(child.id())?;
        self.child = Some(child);
        self.process = match under {
            Under::Bare => outer,
            Under::Trace(_) => self.traced(outer).await?,
        };
        self.wait_live().await.with_context(|| std::fs::read_to_string(&log).unwrap_or_default())
    }

    /// What the last traced run wrote and synced; call it after the node has ended.
    ///
    /// # Errors
    /// When it did not run under a trace, or the trace is not understood.
    pub fn trace(&self) -> Result<SyncTrace> {
        ensure!(self.child.is_none(), "the trace is whole only once the node has ended");
        SyncTrace::read(self.trace.as_ref().context("the node was not traced")?)
    }

    /// Waits until `/readyz` answers 200, degraded or not.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub async fn wait_ready(&self, limit: Duration) -> Result<()> {
        self.wait_answer("/readyz", limit).await
    }

    /// Waits until the data listener answers, whatever it says: a node that starts lets clients wait until its keys are confirmed.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub async fn wait_answering(&self, limit: Duration) -> Result<()> {
        let client = client::http(&self.ca, Version::Http1)?;
        let url = &self.region.data;
        wait::until("an answer of the restarted node", limit, async || client.get(url).timeout(Duration::from_secs(5)).send().await.is_ok()).await?;
        Ok(())
    }

    async fn wait_live(&self) -> Result<()> {
        self.wait_answer("/livez", LIVE_WITHIN).await
    }

    async fn wait_answer(&self, path: &str, limit: Duration) -> Result<()> {
        let client = client::http(&self.ca, Version::Http1)?;
        let url = format!("{}{path}", self.region.control);
        let what = format!("{url} of the restarted node");
        wait::until(&what, limit, async || {
            let answer = client.get(&url).timeout(Duration::from_secs(2)).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await?;
        Ok(())
    }

    /// The node behind `strace`: its child that has become the node's program.
    async fn traced(&self, tracer: Process) -> Result<Process> {
        let program = self.arguments.first().cloned().unwrap_or_default();
        let found = wait::some("the traced node", LIVE_WITHIN, async || {
            tracer.descendants().into_iter().find(|process| process.arguments().is_ok_and(|words| words.first() == Some(&program)))
        })
        .await?;
        Ok(found.0)
    }

    /// The arguments with the present configuration in place of the first one.
    fn arguments(&self) -> Vec<OsString> {
        let original = self.original.as_os_str();
        let present = self.config.as_os_str();
        self.arguments.iter().map(|word| if word == original { present.to_owned() } else { word.clone() }).collect()
    }

    fn base(&self) -> PathBuf {
        self.region.node_config.with_extension("test")
    }

    async fn reap(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        wait::until("the end of the node's tracer", Duration::from_secs(20), async || matches!(child.try_wait(), Ok(Some(_)))).await?;
        self.child = None;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            self.process.signal(Signal::KILL);
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Two regions with a line between them that can be spoiled: what replicates, and what the reader's node asks the primary.
#[derive(Debug)]
pub struct Topology {
    /// The node beside the primary.
    pub writer: Node,
    /// The node beside the standby.
    pub reader: Node,
    /// Between the primary and the standby.
    pub replication: Proxy,
    /// Between the reader's node and the primary.
    pub to_primary: Proxy,
    /// A direct way to the primary, for looking and for mutants.
    database: Sql,
    dev: Dev,
}

impl Topology {
    /// Starts a deployment, puts the proxies in between, and restarts the reader's node over them.
    ///
    /// # Errors
    /// When a part does not come up, or does not use its proxy.
    pub async fn start() -> Result<Self> {
        let dev = Dev::start().await?;
        let (writer, reader) = (dev.writer()?.clone(), dev.reader()?.clone());
        let database = Sql::open(writer.postgres_port, &reader.postgres_data_dir)?;
        let replication = Proxy::to_port(writer.postgres_port).await?;
        let to_primary = Proxy::to_port(writer.postgres_port).await?;

        stream_through(&reader, replication.port())?;
        wait::until("replication through the proxy", LIVE_WITHIN, async || replication.connections() > 0).await?;
        let mut topology = Self { writer: Node::adopt(&dev, &writer)?, reader: Node::adopt(&dev, &reader)?, replication, to_primary, database, dev };
        let port = topology.to_primary.port();
        topology.reader.kill().await?;
        topology.reader.reconfigure(|text| with_port(text, writer.postgres_port, port))?;
        topology.reader.start(Under::Bare).await?;
        topology.reader.wait_answering(LIVE_WITHIN).await?;
        Ok(topology)
    }

    /// Restarts the reader's node with the primary's address in place of its standby's: the mutant that every claim about
    /// replication must catch. It goes past [`Topology::to_primary`], so that no fault there hides it.
    ///
    /// # Errors
    /// When the node does not come up again.
    pub async fn read_primary(&mut self) -> Result<()> {
        let from = self.reader.region().postgres_port;
        let to = self.writer.region().postgres_port;
        self.reader.kill().await?;
        self.reader.reconfigure(|text| with_port(text, from, to))?;
        self.reader.start(Under::Bare).await
    }

    /// Delays everything between the regions, each way.
    pub fn delay(&self, each_way: Duration) {
        self.replication.delay(each_way);
        self.to_primary.delay(each_way);
    }

    /// The deployment beneath.
    pub fn dev(&self) -> &Dev {
        &self.dev
    }

    /// A direct way into the primary.
    pub fn primary(&self) -> &Sql {
        &self.database
    }

    /// A direct way into the standby.
    pub fn standby(&self) -> Sql {
        self.database.on(self.reader.region().postgres_port)
    }

    /// Heals the line and stops everything.
    ///
    /// # Errors
    /// As [`Dev::stop`].
    pub async fn stop(mut self) -> Result<()> {
        self.replication.heal();
        self.to_primary.heal();
        self.reader.stop().await?;
        self.dev.stop().await
    }
}

/// Makes the standby stream through `port`, without a restart.
pub(crate) fn stream_through(reader: &RegionReady, port: u16) -> Result<()> {
    let conf = std::fs::read_to_string(reader.postgres_data_dir.join("postgresql.conf"))?;
    let conninfo = sql::conninfo(&conf).context("the standby names no primary")?;
    let (head, rest) = conninfo.split_once("port=").context("the standby names no port")?;
    let (_, tail) = rest.split_once(' ').context("the standby names nothing after the port")?;
    append(&reader.postgres_data_dir.join("postgresql.auto.conf"), &format!("primary_conninfo = '{head}port={port} {tail}'\n"))?;
    Process::of(reader.postgres_pid)?.signal(Signal::HUP);
    Ok(())
}

fn append(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).open(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// Replaces a port, as a whole number, in a configuration text.
pub(crate) fn with_port(text: &str, from: u16, to: u16) -> String {
    let from = from.to_string();
    let mut edited = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(&from) {
        let (before, after) = rest.split_at(at);
        let after = after.get(from.len()..).unwrap_or_default();
        let is_whole = !before.ends_with(|c: char| c.is_ascii_digit()) && !after.starts_with(|c: char| c.is_ascii_digit());
        edited.push_str(before);
        edited.push_str(&if is_whole { to.to_string() } else { from.clone() });
        rest = after;
    }
    edited.push_str(rest);
    edited
}
