//! Starts server programs under a lawful user, and owns the running postmaster.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{PidfdFlags, Signal};
use tokio::sync::{oneshot, watch};

/// Where util-linux keeps `setpriv`, which sets a parent-death signal and keeps one capability across a change of user.
const SETPRIV: [&str; 2] = ["/usr/bin/setpriv", "/bin/setpriv"];

/// Bits of `CapBnd` in `/proc/self/status`: which of the two capabilities lets a directory be searched.
const CAPABILITIES: [(u32, &str); 2] = [(2, "dac_read_search"), (1, "dac_override")];

/// How server programs are started: as whom, and through what.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    user: Option<User>,
    setpriv: Option<PathBuf>,
    capability: Option<&'static str>,
}

/// The unprivileged user that stands in for root, because `initdb` and `postgres` refuse root.
#[derive(Debug, Clone)]
struct User {
    uid: u32,
    gid: u32,
}

/// Whether a program dies with this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bond {
    /// The kernel sends it SIGINT, the server's fast shutdown, when the thread that started it ends.
    Parent,
    /// It ends by itself.
    Free,
}

impl Launch {
    /// Decides how programs that work in `dir` are started.
    ///
    /// # Errors
    /// As root, when the unprivileged user cannot reach `dir` and no capability can be kept to let it.
    pub(super) fn into_dir(dir: &Path) -> Result<Self> {
        let setpriv = SETPRIV.iter().map(PathBuf::from).find(|path| path.is_file());
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { user: None, setpriv, capability: None });
        }

        let user = unprivileged()?;
        let capability = match (unreachable(dir, &user)?, &setpriv) {
            (None, _) => None,
            // A checkout under /root (mode 0700) is usual in containers: the server keeps the one right to walk
            // through directories instead of our loosening the owner's modes.
            (Some(ancestor), Some(_)) => Some(bounding_capability().with_context(|| refusal(&ancestor, &user))?),
            (Some(ancestor), None) => bail!(refusal(&ancestor, &user)),
        };
        Ok(Self { user: Some(user), setpriv, capability })
    }

    /// Prepares a program that ends by itself (`initdb`, `pg_basebackup`).
    pub(super) fn tool(&self, program: &Path) -> Command {
        self.command(program, Bond::Free)
    }

    /// Makes the unprivileged user the owner of `path` and of all below it.
    pub(super) fn give(&self, path: &Path) -> Result<()> {
        let Some(user) = &self.user else {
            return Ok(());
        };
        let metadata = std::fs::symlink_metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
        if metadata.uid() != user.uid || metadata.gid() != user.gid {
            std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid))
                .with_context(|| format!("cannot change the owner of {}", path.display()))?;
        }
        if metadata.is_dir() {
            let entries = std::fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
            for entry in entries {
                self.give(&entry?.path())?;
            }
        }
        Ok(())
    }

    fn command(&self, program: &Path, bond: Bond) -> Command {
        let mut command = match &self.setpriv {
            Some(setpriv) if bond == Bond::Parent || self.capability.is_some() => {
                let mut command = Command::new(setpriv);
                command.args(self.setpriv_arguments(bond)).arg("--").arg(program);
                command
            }
            _ => {
                let mut command = Command::new(program);
                if let Some(user) = &self.user {
                    command.uid(user.uid).gid(user.gid);
                }
                command
            }
        };
        // The caller's PG* variables must not steer a private server; a fixed locale keeps messages readable by us.
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(std::process::Stdio::null())
            .current_dir("/");
        // Ctrl-C in a terminal goes to the parent alone, which then stops its children in order.
        command.process_group(0);
        command
    }

    fn setpriv_arguments(&self, bond: Bond) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut push = |text: String| arguments.push(text.into());
        if let Some(user) = &self.user {
            push(format!("--reuid={}", user.uid));
            push(format!("--regid={}", user.gid));
            push("--clear-groups".into());
        }
        if let Some(capability) = self.capability {
            push(format!("--inh-caps=-all,+{capability}"));
            push(format!("--ambient-caps=-all,+{capability}"));
            push(format!("--bounding-set=-all,+{capability}"));
        }
        if bond == Bond::Parent {
            push("--pdeathsig=INT".into());
        }
        arguments
    }
}

/// A running postmaster. Its exit is reaped by a thread of its own.
#[derive(Debug)]
pub(super) struct Child {
    pid: u32,
    handle: Arc<OwnedFd>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Child {
    /// Starts `postgres` with `arguments`, its output appended to `log`.
    ///
    /// The thread that starts it also waits for it, so it lives as long as the server: the kernel's parent-death signal
    /// is tied to the *thread* that forked, and a pool's thread may end while the process lives.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(super) async fn start(launch: &Launch, program: &Path, arguments: &[OsString], log: std::fs::File) -> Result<Self> {
        let mut command = launch.command(program, Bond::Parent);
        command.args(arguments).stdout(log.try_clone().context("cannot duplicate the log's descriptor")?).stderr(log);
        let (started, hear) = oneshot::channel();
        let (exited, exit) = watch::channel(None);
        std::thread::Builder::new().name("postmaster".into()).spawn(move || nurse(command, started, &exited)).context("cannot start a thread")?;
        let (pid, handle) =
            hear.await.context("the postmaster's thread ended early")?.with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { pid, handle: Arc::new(handle), exit })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// The exit status, if it has ended.
    pub(super) fn ended(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Sends a signal; a process that has ended already is fine.
    pub(super) fn signal(&self, signal: Signal) {
        send(&self.handle, signal);
    }

    /// Waits until it has ended, for at most `limit`.
    pub(super) async fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some);
        match tokio::time::timeout(limit, ended).await {
            Ok(Ok(status)) => *status,
            Ok(Err(_)) | Err(_) => self.ended(),
        }
    }

    /// A future that resolves when it has ended, by whatever hand.
    pub(super) fn gone(&self) -> impl Future<Output = Option<ExitStatus>> + Send + use<> {
        let mut exit = self.exit.clone();
        async move { exit.wait_for(Option::is_some).await.ok().and_then(|s| *s) }
    }
}

type Started = std::io::Result<(u32, OwnedFd)>;

fn nurse(mut command: Command, started: oneshot::Sender<Started>, exited: &watch::Sender<Option<ExitStatus>>) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            drop(started.send(Err(error)));
            return;
        }
    };
    let opened = handle_of(child.id());
    let lost = opened.is_err();
    if started.send(opened.map(|handle| (child.id(), handle))).is_err() || lost {
        // Nobody will ever own it: end it here rather than leave an orphan.
        drop(child.kill());
    }
    if let Ok(status) = child.wait() {
        exited.send_replace(Some(status));
    }
}

/// Sends a signal to exactly the process behind `handle`: a recycled number cannot be hit.
pub(super) fn send(handle: &OwnedFd, signal: Signal) {
    // The only error is that the process has ended, which is what every caller wants of it.
    if let Err(error) = rustix::process::pidfd_send_signal(handle, signal) {
        tracing::debug!(error = %error, "signal not delivered");
    }
}

/// Opens a descriptor for a process that cannot have been reaped yet.
pub(super) fn handle_of(pid: u32) -> std::io::Result<OwnedFd> {
    let pid =
        i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

fn unprivileged() -> Result<User> {
    let passwd = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    find_user(&passwd, "postgres")
        .or_else(|| find_user(&passwd, "nobody"))
        .context("PostgreSQL refuses to run as root, and neither user `postgres` nor `nobody` exists; run as an ordinary user")
}

fn find_user(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(User { uid, gid })
    })
}

/// The first directory on the way to `dir` that `user` may not search.
fn unreachable(dir: &Path, user: &User) -> Result<Option<PathBuf>> {
    let dir = dir.canonicalize().with_context(|| format!("cannot resolve {}", dir.display()))?;
    let mut ancestors: Vec<&Path> = dir.ancestors().skip(1).collect();
    ancestors.reverse();
    for ancestor in ancestors {
        let metadata = std::fs::metadata(ancestor).with_context(|| format!("cannot look at {}", ancestor.display()))?;
        let mode = metadata.permissions().mode();
        let bit = if metadata.uid() == user.uid {
            0o100
        } else if metadata.gid() == user.gid {
            0o010
        } else {
            0o001
        };
        if mode & bit == 0 {
            return Ok(Some(ancestor.to_owned()));
        }
    }
    Ok(None)
}

fn bounding_capability() -> Option<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"))?;
    let bits = u64::from_str_radix(line.trim(), 16).ok()?;
    CAPABILITIES.iter().find(|(bit, _)| bits & (1 << bit) != 0).map(|(_, name)| *name)
}

fn refusal(ancestor: &Path, user: &User) -> String {
    format!(
        "PostgreSQL refuses to run as root, so it runs as uid {}, which may not enter {}; choose a data directory that \
         every user can reach (for example under /var/tmp), or allow it with `chmod o+x {}`",
        user.uid,
        ancestor.display(),
        ancestor.display()
    )
}
