//! The processes of a cluster: etcd, and for each server an agent that starts it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use edge::listener::{self, Reserved};
use rustix::process::Signal;

use super::files::{Files, Own};
use super::tail;
use crate::process::Process;
use crate::wait;

/// Where packages put programs. The caller's own may hold others, which the servers' user cannot reach.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// How long etcd may take to answer.
const ETCD_WITHIN: Duration = Duration::from_secs(20);
/// How long a killed process may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// What a program says of its version.
pub(super) fn said_of(program: &str) -> Result<String> {
    let output = Command::new(program).arg("--version").env("PATH", PATH).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("there is no {program}"))?;
    ensure!(output.status.success(), "`{program} --version` fails: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// As whom programs run: `PostgreSQL` refuses root.
#[derive(Debug, Clone)]
pub(super) struct Runner {
    /// User and group, when we are root.
    user: Option<(u32, u32)>,
}

impl Runner {
    /// # Errors
    /// When there is no `setpriv`, or nobody to run a server as.
    pub(super) fn find() -> Result<Self> {
        said_of("setpriv")?;
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { user: None });
        }
        let passwd = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let line = passwd.lines().find(|line| line.starts_with("postgres:")).context("there is no user `postgres`")?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(user)), Some(Ok(group))) => Ok(Self { user: Some((user, group)) }),
            _ => bail!("the user `postgres` has no numbers"),
        }
    }

    /// Makes a folder of the user's own.
    pub(super) fn folder(&self, root: &Path, name: &str) -> Result<PathBuf> {
        let path = root.join(name);
        std::fs::create_dir_all(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
        if let Some((user, group)) = self.user {
            std::os::unix::fs::chown(&path, Some(user), Some(group))?;
        }
        Ok(path)
    }

    /// Starts a program that gets `last` when this thread ends.
    fn start(&self, program: &str, arguments: &[String], last: &str, log: &Path) -> Result<Daemon> {
        let output = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new("setpriv");
        if let Some((user, group)) = self.user {
            command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
        }
        command.arg(format!("--pdeathsig={last}")).arg("--").arg(program).args(arguments);
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command.current_dir("/").stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(Daemon { child: command.spawn().with_context(|| format!("cannot start {program}"))? })
    }
}

/// A process that is killed with this value.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
}

impl Daemon {
    fn process(&self) -> Result<Process> {
        Process::of(self.child.id())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts etcd, and answers it with its `host:port` once it serves.
pub(super) async fn etcd(runner: &Runner, root: &Path, speaks_v2: bool) -> Result<(Daemon, String)> {
    let [client, peer] = [reserve()?, reserve()?];
    let [client_url, peer_url] = [&client, &peer].map(|port| format!("http://{}", port.address()));
    let data = runner.folder(root, "etcd")?;
    let log = root.join("etcd.log");
    let mut arguments: Vec<String> = [
        ("--name", "one"),
        ("--data-dir", &data.display().to_string()),
        ("--listen-client-urls", &client_url),
        ("--advertise-client-urls", &client_url),
        ("--listen-peer-urls", &peer_url),
        ("--initial-advertise-peer-urls", &peer_url),
        ("--initial-cluster", &format!("one={peer_url}")),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value.to_owned()])
    .collect();
    // It is never killed here, and the disk is shared with all servers.
    arguments.push("--unsafe-no-fsync".to_owned());
    if speaks_v2 {
        arguments.push("--enable-v2=true".to_owned());
    }
    let etcd = runner.start("etcd", &arguments, "KILL", &log)?;
    crate::client::install_provider();
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().timeout(Duration::from_secs(1)).build()?;
    let healthy = async || http.get(format!("{client_url}/health")).send().await.is_ok_and(|answer| answer.status() == 200);
    wait::until("etcd", ETCD_WITHIN, healthy).await.with_context(|| tail(&log))?;
    Ok((etcd, client.address().to_string()))
}

/// One server with its agent.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) port: u16,
    agent_port: u16,
    config: PathBuf,
    data: PathBuf,
    log: PathBuf,
    agent: Option<Daemon>,
    _ports: [Reserved; 2],
}

impl Member {
    pub(super) fn prepare(files: &Files, number: usize, etcd: &str) -> Result<Self> {
        let name = format!("member-{number}");
        let folder = files.folder(&name)?;
        let ports = [reserve()?, reserve()?];
        let [port, agent_port] = [&ports[0], &ports[1]].map(|port| port.address().port());
        let config = files.root().join(format!("{name}.yaml"));
        std::fs::write(&config, files.text(&Own { name: &name, port, agent_port, folder: &folder, etcd }))?;
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o644))?;
        let log = files.root().join(format!("{name}.log"));
        Ok(Self { name, port, agent_port, config, data: folder.join("data"), log, agent: None, _ports: ports })
    }

    /// Starts the agent, which starts the server.
    pub(super) fn start(&mut self, runner: &Runner) -> Result<()> {
        // The agent stops its server in order when it is asked to end.
        self.agent = Some(runner.start("patroni", &[self.config.display().to_string()], "TERM", &self.log)?);
        Ok(())
    }

    pub(super) fn agent_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.agent_port)
    }

    pub(super) fn agent(&self) -> Result<Process> {
        self.agent.as_ref().context("the agent does not run")?.process()
    }

    /// The server's first process and all that came of it, the first one first; nothing when it does not run.
    pub(super) fn server(&self) -> Vec<Process> {
        let text = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let first = text.lines().next().and_then(|pid| Process::of(pid.trim().parse().ok()?).ok());
        // The number may be another's by now.
        let data = self.data.display().to_string();
        let Some(first) = first.filter(|first| first.command().contains(&data)) else { return Vec::new() };
        std::iter::once(first).chain(first.descendants()).collect()
    }

    /// Kills the server, and its agent where that is asked for: the agent first, so that it does nothing about it.
    pub(super) async fn kill(&mut self, with_agent: bool) -> Result<()> {
        if with_agent {
            self.agent = None;
        }
        let server = self.server();
        for process in &server {
            process.signal(Signal::KILL);
        }
        for process in server {
            process.wait_gone(GONE_WITHIN).await?;
        }
        Ok(())
    }

    /// Ends both for good.
    pub(super) async fn end(&mut self) -> Result<()> {
        self.kill(true).await
    }

    pub(super) fn log_tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.agent = None;
        for process in self.server() {
            process.signal(Signal::KILL);
        }
    }
}

fn reserve() -> Result<Reserved> {
    listener::reserve(([127, 0, 0, 1], 0).into()).context("no free port")
}
