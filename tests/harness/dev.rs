//! A whole deployment as a developer starts it: `causeway dev`, read through its ready file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde::Deserialize;

use crate::client::{self, Version};
use crate::process::Process;
use crate::wait;

/// How long the deployment may take to come up. Ten seconds is the product's promise on an idle machine; tests share two
/// cores with others, so only a claim that measures it uses that figure.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How long an orderly stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// What the ready file says. Unknown fields are allowed: the contract may grow.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// The regions, the writer among them.
    pub regions: Vec<RegionReady>,
    /// The development CA, PEM.
    pub ca: PathBuf,
    /// A key that works.
    pub api_key: String,
    /// A token for the control listeners.
    pub operator_token: String,
    /// The `causeway dev` process.
    pub dev_pid: u32,
}

/// One region in the ready file.
#[derive(Debug, Clone, Deserialize)]
pub struct RegionReady {
    /// `eu-west` or `us-east`.
    pub name: String,
    /// Whether the control database's primary is here.
    pub role: Role,
    /// `https://127.0.0.1:PORT` of the data listener.
    pub data: String,
    /// `https://127.0.0.1:PORT` of the control listener.
    pub control: String,
    /// The node's process.
    pub node_pid: u32,
    /// Its `node.yaml`.
    pub node_config: PathBuf,
    /// Its audit spool.
    pub spool_dir: PathBuf,
    /// The region's database server.
    pub postgres_port: u16,
    /// Its postmaster.
    pub postgres_pid: u32,
    /// Its data directory.
    pub postgres_data_dir: PathBuf,
}

/// The part that a region plays for the control database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It has the primary.
    Writer,
    /// It has a standby.
    Reader,
}

impl RegionReady {
    /// The data listener's address.
    ///
    /// # Errors
    /// When the URL in the ready file is not `https://<ip>:<port>`.
    pub fn data_address(&self) -> Result<SocketAddr> {
        let text = self.data.strip_prefix("https://").unwrap_or(&self.data);
        text.parse().with_context(|| format!("{} is no address", self.data))
    }
}

/// A running `causeway dev`. [`Dev::stop`] checks that it leaves no process; a drop only makes sure of it.
#[derive(Debug)]
pub struct Dev {
    ready: Ready,
    child: Child,
    log: PathBuf,
    /// Ours to remove, which its drop does after the process has ended.
    dir: Option<tempfile::TempDir>,
}

impl Dev {
    /// Starts a fresh deployment in a temporary directory on free ports.
    ///
    /// # Errors
    /// When the binary is not built, or the deployment is not ready in time; the message holds the end of its output.
    pub async fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("causeway-").tempdir()?;
        let mut dev = Self::start_in(dir.path()).await?;
        dev.dir = Some(dir);
        Ok(dev)
    }

    /// Starts in a directory that the caller keeps, so that state lives on between runs.
    ///
    /// # Errors
    /// As [`Dev::start`].
    pub async fn start_in(dir: &Path) -> Result<Self> {
        let binary = private_binary(dir)?;
        let ready_file = dir.join("ready.json");
        drop(std::fs::remove_file(&ready_file));
        let log = dir.join("dev.log");
        let output = std::fs::File::create(&log)?;
        let child = Command::new(&binary)
            .arg("dev")
            .arg("--data")
            .arg(dir.join("data"))
            .args(["--port", "0", "--ready-file"])
            .arg(&ready_file)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut dev = Starting { child: Some(child) };
        let came = wait::some("the ready file", READY_WITHIN, async || {
            if let Some(ended) = dev.ended() {
                return Some(Err(ended));
            }
            std::fs::read(&ready_file).ok().map(Ok)
        })
        .await;
        let tail = || tail(&log);
        let bytes = match came {
            Ok((Ok(bytes), _)) => bytes,
            Ok((Err(status), _)) => bail!("causeway dev ended ({status}):\n{}", tail()),
            Err(error) => bail!("{error:#}:\n{}", tail()),
        };
        let ready: Ready = serde_json::from_slice(&bytes).context("the ready file is malformed")?;
        let child = dev.child.take().context("the process was lost")?;
        let dev = Self { ready, child, log, dir: None };
        ensure!(dev.child.id() == dev.ready.dev_pid, "dev_pid is not the process that was started");
        Ok(dev)
    }

    /// What the ready file said.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The region that writes.
    ///
    /// # Errors
    /// When the ready file names none.
    pub fn writer(&self) -> Result<&RegionReady> {
        self.region(Role::Writer)
    }

    /// The (first) region that reads from a standby.
    ///
    /// # Errors
    /// When the ready file names none.
    pub fn reader(&self) -> Result<&RegionReady> {
        self.region(Role::Reader)
    }

    /// A client that trusts this deployment's CA.
    ///
    /// # Errors
    /// When the CA file is unreadable.
    pub fn client(&self, version: Version) -> Result<reqwest::Client> {
        client::http(&self.ready.ca, version)
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn process(&self) -> Result<Process> {
        Process::of(self.child.id())
    }

    /// Stops it as Ctrl-C does, and checks that nothing it started is left.
    ///
    /// # Errors
    /// When it does not end in time, ends with a failure, or leaves a process.
    pub async fn stop(mut self) -> Result<()> {
        let process = self.process()?;
        let family = process.descendants();
        process.signal(Signal::INT);
        let (status, _) = wait::some("the end of causeway dev", STOP_WITHIN, async || self.child.try_wait().ok().flatten())
            .await
            .with_context(|| tail(&self.log))?;
        let left: Vec<String> =
            family.iter().filter(|process| process.is_alive()).map(|process| format!("{} ({})", process.pid(), process.command())).collect();
        ensure!(left.is_empty(), "causeway dev left processes behind: {}", left.join(", "));
        ensure!(status.success(), "causeway dev ended with {status}:\n{}", tail(&self.log));
        Ok(())
    }

    fn region(&self, role: Role) -> Result<&RegionReady> {
        let found = self.ready.regions.iter().find(|region| region.role == role);
        found.with_context(|| format!("the ready file names no {role:?}"))
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A start under way: whatever ends it early must leave nothing behind.
struct Starting {
    child: Option<Child>,
}

impl Starting {
    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
    }
}

/// Asks for an orderly stop, and kills the whole family when that is not heeded.
fn end(child: &mut Child) {
    let Ok(process) = Process::of(child.id()) else {
        return;
    };
    if !process.is_alive() {
        drop(child.wait());
        return;
    }
    let family = process.descendants();
    process.signal(Signal::INT);
    let mut ended = false;
    for _ in 0..STOP_WITHIN.as_millis() / 10 {
        ended = matches!(child.try_wait(), Ok(Some(_)));
        if ended {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    if !ended {
        process.signal(Signal::KILL);
        drop(child.wait());
    }
    for process in family {
        process.signal(Signal::KILL);
    }
}

/// A second name for the built program, so that a build that replaces it does not change a run under way.
fn private_binary(dir: &Path) -> Result<PathBuf> {
    let (built, own) = (binary()?, dir.join("causeway"));
    drop(std::fs::remove_file(&own));
    if std::fs::hard_link(&built, &own).is_err() {
        std::fs::copy(&built, &own).with_context(|| format!("cannot copy {}", built.display()))?;
    }
    Ok(own)
}

/// The built program: beside this one, or one directory up when this is a test.
///
/// # Errors
/// When it is not there; the message says how to build it.
pub fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program does not know its place")?;
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join("causeway")).find(|path| path.is_file());
    found.with_context(|| format!("no `causeway` beside {}; build it first: cargo build --profile quick -p app", own.display()))
}

/// Applies a gateway document by a control listener, as an operator does.
///
/// # Errors
/// When it is refused; the message says why.
pub(crate) async fn apply(document: &Path, control: &str, ready: &Ready) -> Result<()> {
    let done = tokio::process::Command::new(binary()?)
        .args(["apply", "-f"])
        .arg(document)
        .env("CAUSEWAY_CONTROL", control)
        .env("CAUSEWAY_TOKEN", &ready.operator_token)
        .env("CAUSEWAY_CA", &ready.ca)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(done.status.success(), "apply: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    Ok(())
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(40);
    lines.get(from..).unwrap_or_default().join("\n")
}
