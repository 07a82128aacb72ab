//! The private `PostgreSQL` of `causeway dev` and of the tests: a primary and its streaming standbys, on this machine.
//!
//! Each server is a [`Cluster`]: a directory that holds `data/`, `log` and `lock`, a port on 127.0.0.1 and a postmaster.
//! Nothing of it is meant for production: there the operator brings a `PostgreSQL` of their own.

mod binaries;
mod child;
mod conf;
mod directory;
mod prepare;
#[cfg(test)]
mod tests;
mod tool;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use edge::listener::{self, Reserved};
use rustix::process::Signal;
use tokio::time::Instant;
use zeroize::Zeroizing;

pub use binaries::Binaries;
use child::{Child, Launch};
use directory::{end_orphan, lock_file};
use prepare::Source;
use tool::psql;

/// The superuser of every private server.
pub const SUPERUSER: &str = "postgres";

/// How long a server may take to accept connections after its start; crash recovery of a big data directory included.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// How often a condition outside this process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long each step of a stop may take before the next, harder one.
const STOP_STEP: Duration = Duration::from_secs(15);

/// Whether the server makes its commits durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Commits survive a power loss.
    On,
    /// Commits survive the server's crash but not the machine's; for tests only.
    Off,
}

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Sessions are ended, a checkpoint is written: the server's fast shutdown.
    Fast,
    /// At once, without a checkpoint, as a crash would; the next start recovers.
    Immediate,
}

/// Where a standby copies and streams from.
#[derive(Clone)]
pub struct Upstream {
    /// The primary's own port on 127.0.0.1: the base copy and the slot are made over it.
    pub port: u16,
    /// The port that replication streams from: the primary's, or that of a proxy in front of it.
    pub stream_port: u16,
    /// The superuser's password.
    pub password: Zeroizing<String>,
}

impl Upstream {
    /// Follows a server directly.
    pub fn of(primary: &Cluster) -> Self {
        Self { port: primary.port, stream_port: primary.port, password: primary.password.clone() }
    }

    /// Follows the same server, streaming through another port (a fault proxy's).
    #[must_use]
    pub fn via(self, stream_port: u16) -> Self {
        Self { stream_port, ..self }
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("port", &self.port).field("stream_port", &self.stream_port).finish_non_exhaustive()
    }
}

/// One server: one directory, one port, one postmaster.
///
/// Dropping it without [`Cluster::stop`] stops the server too, and waits for its end for at most three seconds.
pub struct Cluster {
    binaries: Binaries,
    launch: Launch,
    dir: PathBuf,
    data: PathBuf,
    port: u16,
    password: Zeroizing<String>,
    fsync: Fsync,
    follows: Option<(Upstream, String)>,
    child: Option<Child>,
    /// The port, when it was chosen here.
    kept: Option<Reserved>,
    /// Held while this process owns the directory; the kernel releases it when the process ends, however it ends.
    _lock: std::fs::File,
}

impl Cluster {
    /// Starts the primary in `dir`, which is made when it is not there; data of earlier runs is kept and used.
    ///
    /// `port` 0 chooses a free one. `superuser_password` must be the one that the directory was made with.
    ///
    /// # Errors
    /// When the directory is in use, cannot be reached by the server's user, holds data of another major version or of
    /// another password, when the port is taken, or when the server does not come up; each message says what to do.
    ///
    /// # Cancel
    /// A dropped future stops what it had started.
    pub async fn primary(binaries: &Binaries, dir: &Path, port: u16, superuser_password: &str, fsync: Fsync) -> Result<Self> {
        let password = Zeroizing::new(superuser_password.to_owned());
        let mut cluster = Self::open(binaries, dir, password, fsync, None)?;
        let existed = cluster.is_made()?;
        if !existed {
            cluster.init().await?;
        }
        cluster.start_on(port).await?;
        if existed {
            let pong = cluster.run("postgres", &[], include_str!("postgres/ping.sql")).await;
            pong.with_context(|| {
                format!("the database in {} was made with another password; remove that directory to start afresh", cluster.dir.display())
            })?;
        }
        Ok(cluster)
    }

    /// Starts a streaming standby in `dir`: a base copy of the upstream when the directory is empty, else a restart.
    ///
    /// The copy is made anew when it can no longer follow: another system identifier, a slot that is gone, a promotion.
    ///
    /// # Errors
    /// As for [`Cluster::primary`], and when the upstream does not answer or `slot` is no lawful name (`a-z`, `0-9`,
    /// `_`, at most 63 bytes).
    ///
    /// # Cancel
    /// A dropped future stops what it had started.
    pub async fn standby(binaries: &Binaries, dir: &Path, port: u16, upstream: &Upstream, slot: &str, fsync: Fsync) -> Result<Self> {
        let lawful = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        ensure!(!slot.is_empty() && slot.len() <= 63 && slot.chars().all(lawful), "{slot:?} is no replication slot name: use a-z, 0-9 and _");
        let follows = Some((upstream.clone(), slot.to_owned()));
        let mut cluster = Self::open(binaries, dir, upstream.password.clone(), fsync, follows)?;
        let source = Source { binaries, upstream };
        let slot_kept = source.ensure_slot(slot).await?;
        if !(slot_kept && cluster.is_made()? && cluster.still_follows(&source).await?) {
            cluster.copy(&source, slot).await?;
        }
        cluster.start_on(port).await?;
        Ok(cluster)
    }

    /// The port on 127.0.0.1; it stays the same over [`Cluster::stop`] and [`Cluster::start`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The postmaster's process id, 0 while stopped.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::pid)
    }

    /// The server's data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// The file that the server's messages are appended to.
    pub fn log_file(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// A connection string for the superuser: `postgres://postgres:<password>@127.0.0.1:<port>/<database>`.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}:{}@127.0.0.1:{}/{}", percent(&self.password), self.port, percent(database))
    }

    /// Whether the postmaster runs, as far as this process has heard.
    pub fn is_running(&self) -> bool {
        self.child.as_ref().is_some_and(|child| child.ended().is_none())
    }

    /// A future that resolves when the postmaster has ended, by whatever hand; at once when it is stopped.
    pub fn gone(&self) -> impl Future<Output = Option<ExitStatus>> + Send + use<> {
        let gone = self.child.as_ref().map(Child::gone);
        async move {
            match gone {
                Some(gone) => gone.await,
                None => None,
            }
        }
    }

    /// Runs statements through `psql` as the superuser and returns its bare output (unaligned, tuples only).
    ///
    /// # Errors
    /// When the server does not answer or refuses a statement; the message is the server's.
    pub async fn run(&self, database: &str, variables: &[(&str, &str)], statements: &str) -> Result<String> {
        psql(&self.binaries, self.port, &self.password, database, variables, statements).await
    }

    /// Stops the server, harder step by step when it does not obey, and returns when it has ended.
    ///
    /// # Errors
    /// When it does not end even after SIGKILL, which only a hung disk does.
    ///
    /// # Cancel
    /// The signal has been sent; the server may still be ending.
    pub async fn stop(&mut self, mode: Stop) -> Result<()> {
        let Some(child) = &self.child else {
            return Ok(());
        };
        let steps: &[Signal] = match mode {
            Stop::Fast => &[Signal::INT, Signal::QUIT, Signal::KILL],
            Stop::Immediate => &[Signal::QUIT, Signal::KILL],
        };
        for step in steps {
            child.signal(*step);
            if child.wait(STOP_STEP).await.is_some() {
                self.child = None;
                return Ok(());
            }
        }
        bail!("PostgreSQL process {} does not end", child.pid());
    }

    /// Starts the server again, on the same port.
    ///
    /// # Errors
    /// When it does not come up; the message holds the end of its log.
    pub async fn start(&mut self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        self.child = None;
        self.launch().await
    }

    /// Waits until the server accepts connections, for at most `limit` from now.
    ///
    /// # Errors
    /// When it ends first, or when the time is over; the message holds the end of its log.
    pub async fn wait_ready(&self, limit: Duration) -> Result<()> {
        let Some(child) = &self.child else {
            bail!("the server is stopped");
        };
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = child.ended() {
                bail!("PostgreSQL ended while starting ({status}):\n{}", self.log_tail());
            }
            if lock_file(&self.data).is_some_and(|(pid, ready)| ready && pid == child.pid()) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "PostgreSQL was not ready within {} s:\n{}", limit.as_secs(), self.log_tail());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Starts on `port`, or on a free one when it is 0.
    async fn start_on(&mut self, port: u16) -> Result<()> {
        end_orphan(&self.data).await?;
        if port != 0 {
            ensure!(std::net::TcpListener::bind(("127.0.0.1", port)).is_ok(), "port {port} is taken; choose another, or 0 for a free one");
            self.port = port;
            return self.launch().await;
        }
        // Kept while the server is stopped, too: it comes back on the same port.
        let kept = listener::reserve((Ipv4Addr::LOCALHOST, 0).into()).context("no free port")?;
        self.port = kept.address().port();
        self.kept = Some(kept);
        self.launch().await
    }

    async fn launch(&mut self) -> Result<()> {
        self.launch.give(&self.data)?;
        let follows = self.follows.as_ref().map(|(upstream, slot)| (upstream, slot.as_str()));
        let conf = conf::text(self.port, self.fsync, follows);
        self.write(&self.data.join("postgresql.conf"), &conf)?;
        self.write(&self.data.join("pg_hba.conf"), conf::HBA)?;

        let deadline = Instant::now() + READY_WITHIN;
        loop {
            end_orphan(&self.data).await?;
            self.spawn().await?;
            let left = deadline.saturating_duration_since(Instant::now());
            let Err(error) = self.wait_ready(left).await else {
                return Ok(());
            };
            // Backends of a postmaster that was killed end within moments; until then their memory blocks a start.
            let text = format!("{error:#}");
            let lingering = text.contains("pre-existing shared memory block") || text.contains("Is another postmaster");
            if lingering && Instant::now() < deadline {
                tokio::time::sleep(LOOK_EVERY * 10).await;
                continue;
            }
            self.stop(Stop::Immediate).await?;
            return Err(error);
        }
    }

    async fn spawn(&mut self) -> Result<()> {
        let path = self.log_file();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let arguments: [OsString; 2] = ["-D".into(), self.data.clone().into()];
        let program = self.binaries.program("postgres");
        self.child = Some(Child::start(&self.launch, &program, &arguments, log).await?);
        Ok(())
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read(self.log_file()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(12);
        lines.get(from..).unwrap_or_default().join("\n")
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("data", &self.data).field("port", &self.port).field("pid", &self.pid()).finish_non_exhaustive()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else {
            return;
        };
        child.signal(match self.fsync {
            Fsync::On => Signal::INT,
            Fsync::Off => Signal::QUIT,
        });
        for _ in 0..600 {
            if child.ended().is_some() {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        child.signal(Signal::KILL);
    }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 §2.3.
fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
