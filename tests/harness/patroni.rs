//! A control database under Patroni: three `PostgreSQL` servers, their agents and one etcd, all of them private.
//!
//! What an operator installs, as Debian packages it: nothing of it is ours but the configuration. The processes run as the user
//! `postgres` when we are root, and end with the value that started them.

mod faults;
mod files;
mod parts;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use app::postgres::{Binaries, SUPERUSER};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

pub use self::faults::{Fault, Held};
use self::files::Files;
use self::parts::{Daemon, Member, Runner, etcd};
use crate::client;
use crate::wait;

/// The oldest major version whose settings are written here.
const MAJOR_MIN: u32 = 3;
/// From here on Patroni's client of etcd's third API takes no leader key over that has become another's (patroni pull request 2689); before,
/// a primary that had been frozen took it back when it woke, and what had been acknowledged meanwhile was lost. So older ones get the second.
const ETCD3_FROM: [u32; 3] = [3, 0, 3];
/// How many servers.
pub const MEMBERS: usize = 3;
/// How long the leader's key lives without being renewed. Patroni's own least is 20 s from version 4 on; earlier ones take what is given.
pub const TTL: Duration = Duration::from_secs(8);
/// How long all parts may take to come up.
const UP_WITHIN: Duration = Duration::from_secs(90);
/// Between two questions whether a server takes writes.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long an agent has to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What Patroni makes commits wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// For a standby, always: `synchronous_mode` and `synchronous_mode_strict`.
    Strict,
    /// For nothing.
    Asynchronous,
}

/// A running cluster.
#[derive(Debug)]
pub struct Patroni {
    members: Vec<Member>,
    runner: Runner,
    binaries: Binaries,
    client: reqwest::Client,
    replication: Replication,
    version: [u32; 3],
    _etcd: Daemon,
    files: Files,
}

/// What an agent says about the cluster.
#[derive(Debug, Clone, Deserialize)]
struct View {
    members: Vec<Seen>,
}

#[derive(Debug, Clone, Deserialize)]
struct Seen {
    name: String,
    role: String,
    state: String,
    #[serde(default)]
    timeline: Option<u32>,
    #[serde(default)]
    lag: Value,
}

/// Why it cannot be started here, if it cannot.
pub fn obstacle() -> Option<String> {
    let missing = |error: anyhow::Error| format!("{error:#}; `bin/setup patroni etcd-server` installs both");
    let all = || {
        let version = version()?;
        ensure!(version[0] >= MAJOR_MIN, "Patroni {} is older than {MAJOR_MIN}", text(version));
        parts::said_of("etcd")?;
        Runner::find()?;
        Binaries::find(None)?;
        Ok(())
    };
    all().map_err(missing).err()
}

/// The installed Patroni's.
fn version() -> Result<[u32; 3]> {
    let said = parts::said_of("patroni")?;
    let digits = said.trim().rsplit(' ').next().unwrap_or_default();
    let mut parts = digits.split('.').map(|part| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0));
    Ok([parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0)])
}

fn text(version: [u32; 3]) -> String {
    version.map(|part| part.to_string()).join(".")
}

impl Patroni {
    /// Starts a cluster in a temporary directory on free ports, and waits until all servers stream.
    ///
    /// Call it on a thread that outlives it: the kernel ends the processes with the thread that started them.
    ///
    /// # Errors
    /// When a part does not come up; the message holds the end of its log.
    ///
    /// # Cancel
    /// A dropped future stops what it had started.
    pub async fn start(replication: Replication) -> Result<Self> {
        let (runner, binaries, version) = (Runner::find()?, Binaries::find(None)?, version()?);
        let files = Files::new(&runner, replication, version >= ETCD3_FROM, binaries.dir())?;
        let (etcd, endpoint) = etcd(&runner, files.root(), version < ETCD3_FROM).await?;
        let members = (1..=MEMBERS).map(|number| Member::prepare(&files, number, &endpoint)).collect::<Result<Vec<_>>>()?;
        client::install_provider();
        let client = reqwest::Client::builder().tls_certs_only([]).no_proxy().timeout(ANSWER_WITHIN).build()?;
        let mut patroni = Self { members, runner, binaries, client, replication, version, _etcd: etcd, files };
        for member in &mut patroni.members {
            member.start(&patroni.runner)?;
        }
        patroni.wait_whole(UP_WITHIN).await?;
        let leader = patroni.leader().await?;
        patroni.ask(leader, "postgres", "create table accepted (at timestamptz not null)").await?;
        Ok(patroni)
    }

    /// Its version, as it says it.
    pub fn version(&self) -> String {
        text(self.version)
    }

    /// The ports of the servers, in their order; they never change.
    pub fn ports(&self) -> Vec<u16> {
        self.members.iter().map(|member| member.port).collect()
    }

    /// The index of the server that holds the leader's key.
    ///
    /// # Errors
    /// When no agent names one.
    pub async fn leader(&self) -> Result<usize> {
        let view = self.view().await.context("no agent answers")?;
        let name = view.members.iter().find(|seen| seen.role == "leader").map(|seen| seen.name.as_str());
        self.members.iter().position(|member| Some(member.name.as_str()) == name).context("there is no leader")
    }

    /// Waits until one server leads and all others stream from it, one of them synchronously where that is asked for. Returns how long it took.
    ///
    /// # Errors
    /// When it does not come to that within `limit`; the message holds what was seen last, and the ends of the logs.
    pub async fn wait_whole(&self, limit: Duration) -> Result<Duration> {
        let mut next = Instant::now();
        let mut last = None;
        let whole = wait::until("a whole cluster", limit, async || {
            sleep_until(next).await;
            next = Instant::now() + ASK_EVERY;
            last = self.view().await;
            match &last {
                Some(view) if self.is_whole(view) => self.streams().await.unwrap_or(false),
                _ => false,
            }
        })
        .await;
        whole.with_context(|| format!("{last:?}\n{}", self.logs()))
    }

    /// Runs statements as the superuser on a server and returns the bare rows, columns separated by `|`.
    ///
    /// # Errors
    /// When it does not answer, or refuses a statement.
    pub async fn ask(&self, member: usize, database: &str, statements: &str) -> Result<Vec<String>> {
        let port = self.members.get(member).context("there is no such server")?.port;
        self.psql(&[port], database, &["-c", statements]).await
    }

    /// Takes a database over from a dump, with the role that owns it.
    ///
    /// # Errors
    /// When a statement is refused.
    pub async fn restore(&self, database: &str, role: &str, password: &str, dump: &[u8]) -> Result<()> {
        let file = self.files.root().join("restored.sql");
        std::fs::write(&file, dump)?;
        let file = file.to_str().context("the temporary folder's path is not UTF-8")?;
        let port = self.members.get(self.leader().await?).context("there is no such server")?.port;
        let role = format!("create role {role} login password '{password}'; create database {database} owner {role}");
        for statement in role.split("; ") {
            self.psql(&[port], "postgres", &["-c", statement]).await?;
        }
        self.psql(&[port], database, &["-1", "-f", file]).await?;
        Ok(())
    }

    /// Waits until another server than `old` has committed a write, and returns when that was. A commit waits for a standby there as any does.
    ///
    /// # Errors
    /// When none has within `limit`.
    pub async fn accepts(&self, old: usize, limit: Duration) -> Result<Instant> {
        let others: Vec<u16> = self.members.iter().enumerate().filter(|(index, _)| *index != old).map(|(_, member)| member.port).collect();
        let mut next = Instant::now();
        let took = wait::until("another server that takes writes", limit, async || {
            sleep_until(next).await;
            next = Instant::now() + ASK_EVERY;
            self.psql(&others, "postgres", &["-c", "insert into accepted values (now())"]).await.is_ok()
        })
        .await;
        took.with_context(|| self.logs())?;
        Ok(Instant::now())
    }

    /// Ends all processes, and checks that none is left.
    ///
    /// # Errors
    /// When one does not end.
    pub async fn stop(mut self) -> Result<()> {
        for member in &mut self.members {
            member.end().await?;
        }
        Ok(())
    }

    /// The ends of all logs, for messages.
    pub fn logs(&self) -> String {
        self.members.iter().map(Member::log_tail).collect::<Vec<_>>().join("\n")
    }

    /// What the first agent that answers says.
    async fn view(&self) -> Option<View> {
        for member in &self.members {
            let answer = self.client.get(format!("{}/cluster", member.agent_url())).send().await;
            if let Ok(answer) = answer
                && let Ok(bytes) = answer.bytes().await
                && let Ok(view) = serde_json::from_slice(&bytes)
            {
                return Some(view);
            }
        }
        None
    }

    fn is_whole(&self, view: &View) -> bool {
        let first = view.members.first().and_then(|seen| seen.timeline);
        let count = |role: &str| view.members.iter().filter(|seen| seen.role == role).count();
        let synchronous = usize::from(self.replication == Replication::Strict);
        let runs = |seen: &Seen| ["running", "streaming"].contains(&seen.state.as_str()) && seen.timeline == first && !seen.lag.is_string();
        view.members.len() == MEMBERS && count("leader") == 1 && count("sync_standby") == synchronous && view.members.iter().all(runs)
    }

    /// Whether the leader itself says so: what agents say is as old as their last turn.
    async fn streams(&self) -> Result<bool> {
        let count = "select count(*) filter (where state = 'streaming'), count(*) filter (where sync_state = 'sync') from pg_stat_replication";
        let rows = self.ask(self.leader().await?, "postgres", count).await?.concat();
        let synchronous = usize::from(self.replication == Replication::Strict);
        Ok(rows == format!("{}|{synchronous}", MEMBERS - 1))
    }

    /// `psql` at the first of these servers that takes writes.
    async fn psql(&self, ports: &[u16], database: &str, what: &[&str]) -> Result<Vec<String>> {
        let (hosts, ports): (Vec<_>, Vec<_>) = ports.iter().map(|port| ("127.0.0.1", port.to_string())).unzip();
        let output = tokio::process::Command::new(self.binaries.program("psql"))
            .args(["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-h", &hosts.join(","), "-p", &ports.join(",")])
            .args(["-U", SUPERUSER, "-d", database])
            .args(what)
            .env("PGPASSWORD", files::PASSWORD)
            .env("PGCONNECT_TIMEOUT", "3")
            .env("PGTARGETSESSIONATTRS", if ports.len() > 1 { "read-write" } else { "any" })
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot start psql")?;
        ensure!(output.status.success(), "psql failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }
}

/// The last lines of a log, for messages.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("{}:\n{}", log.display(), lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n"))
}
