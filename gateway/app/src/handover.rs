//! Hand-over of the listening sockets to another process of this node, over a Unix socket: how a binary is upgraded without
//! a connection being refused or reset (docs/adr/0012).
//!
//! The sockets themselves are passed (`SCM_RIGHTS`, unix(7)), not only their port: the kernel keeps one queue of waiting
//! connections for each socket, and a queue is only reset when the last process that holds its socket closes it.
//!
//! ```text
//! successor                                   predecessor
//!     | -- {"protocol":1,"node":"eu-west-1"} -----> |
//!     | <- {"protocol":1,...,"data":2,"control":1} |   or {"refused":"..."}
//!     | <- the sockets, 64 a message ------------- |   stops sealing and leftovers
//!     |  opens its spool, loads, accepts           |   serves
//!     | -- {"serving":true} ----------------------> |
//!     | <- {"draining":true} ---------------------- |   accepts no more, finishes what runs
//! ```
//!
//! A successor that ends before it serves changes nothing: the predecessor goes on.

mod wire;

use std::{
    net::{SocketAddr, TcpListener},
    os::{
        fd::AsFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::Signal;

use crate::facts::Facts;

/// The form of the messages; another one is refused by either side.
const PROTOCOL: u32 = 1;
/// A message of a live process takes microseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The longest that a successor may take from the sockets to its first accept: spools are verified, snapshots are loaded.
const SERVING_WITHIN: Duration = Duration::from_mins(5);
/// Sockets of a node at most: one a core for clients, and those of the control listener.
const SOCKETS_MAX: usize = 1_024;

/// Listening sockets of a node.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For clients.
    pub data: Vec<TcpListener>,
    /// For operators.
    pub control: Vec<TcpListener>,
}

impl Sockets {
    /// Further descriptors of the same sockets.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn try_clone(&self) -> Result<Self> {
        let all = |sockets: &[TcpListener]| sockets.iter().map(TcpListener::try_clone).collect::<std::io::Result<Vec<_>>>();
        Ok(Self { data: all(&self.data)?, control: all(&self.control)? })
    }

    /// Keeps the sockets that listen where the node file says; a changed address is bound anew.
    pub fn keep(&mut self, data: SocketAddr, control: SocketAddr) {
        let listens = |socket: &TcpListener, wanted: SocketAddr| {
            socket.local_addr().is_ok_and(|actual| actual.ip() == wanted.ip() && (wanted.port() == 0 || actual.port() == wanted.port()))
        };
        self.data.retain(|socket| listens(socket, data));
        self.control.retain(|socket| listens(socket, control));
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    protocol: u32,
    node: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Offer {
    Refused { refused: String },
    Given { protocol: u32, node: String, pid: u32, data: usize, control: usize },
}

#[derive(Debug, Serialize, Deserialize)]
struct Serving {
    serving: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Draining {
    draining: bool,
}

/// The process that serves until this one does.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    pid: u32,
}

/// Asks the process that serves for its sockets; `None` when there is no such process.
///
/// # Errors
/// When it refuses, is no node of this name, or does not answer: two nodes must not fight over one place.
pub fn ask(path: &Path, node: &str) -> Result<Option<(Sockets, Predecessor)>> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot reach the hand-over socket {}", path.display())),
    };
    wire::limit(&stream, ANSWER_WITHIN)?;
    wire::send(&stream, &Ask { protocol: PROTOCOL, node: node.to_owned() })?;
    let offer = wire::receive::<Offer>(&stream).with_context(|| format!("no answer at the hand-over socket {}", path.display()))?;
    let (pid, data, control) = match offer {
        Offer::Refused { refused } => bail!("the process that serves does not hand over: {refused}"),
        Offer::Given { protocol, node: found, pid, data, control } => {
            ensure!(protocol == PROTOCOL, "the process that serves ({pid}) hands over in another form; stop it first");
            ensure!(found == node, "the process at the hand-over socket is node {found}, not {node}");
            (pid, data, control)
        }
    };
    ensure!(data.saturating_add(control) <= SOCKETS_MAX, "{data} and {control} sockets are more than a node has");
    let mut descriptors = wire::receive_descriptors(&stream, data + control)?.into_iter();
    let mut take = |count: usize| descriptors.by_ref().take(count).map(TcpListener::from).collect::<Vec<_>>();
    let sockets = Sockets { data: take(data), control: take(control) };
    Ok(Some((sockets, Predecessor { stream, pid })))
}

impl Predecessor {
    /// Its process id.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells it that this process accepts, and waits until it accepts no more.
    ///
    /// # Errors
    /// When it does not answer; then both accept, which is no harm.
    pub fn take_over(&self) -> Result<()> {
        wire::send(&self.stream, &Serving { serving: true })?;
        let answer = wire::receive::<Draining>(&self.stream)?;
        ensure!(answer.draining, "the process that served goes on");
        Ok(())
    }
}

/// The place where a successor finds this process.
#[derive(Debug)]
pub struct Giver {
    listener: UnixListener,
    path: PathBuf,
    node: String,
    sockets: Sockets,
}

/// A successor that serves; dropping it tells it that this process accepts no more.
#[derive(Debug)]
pub struct Successor {
    stream: UnixStream,
}

impl Giver {
    /// Listens at `path`, in place of a process that has handed over or has ended.
    ///
    /// # Errors
    /// When the path cannot be written.
    pub fn bind(path: &Path, node: &str, sockets: Sockets) -> Result<Self> {
        let cannot = || format!("cannot listen at the hand-over socket {}", path.display());
        // Bound beside and renamed over, so that there is no moment without one.
        let own = path.with_extension(format!("{}.new", std::process::id()));
        std::fs::remove_file(&own).ok();
        let listener = UnixListener::bind(&own).with_context(cannot)?;
        std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o600)).with_context(cannot)?;
        std::fs::rename(&own, path).with_context(cannot)?;
        Ok(Self { listener, path: path.to_owned(), node: node.to_owned(), sockets })
    }

    /// Serves successors until one of them has taken over. `facts` hears of it from the moment at which sockets are given.
    ///
    /// # Errors
    /// When the socket cannot be used any more.
    ///
    /// # Cancel
    /// A dropped future stops listening.
    pub async fn given(self, facts: Arc<Facts>) -> Result<Successor> {
        let Self { listener, path, node, sockets } = self;
        listener.set_nonblocking(true)?;
        let unlink = Unlink { path: Some(path) };
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let sockets = Arc::new(sockets);
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream.into_std()?,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "accepting at the hand-over socket failed");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            stream.set_nonblocking(false)?;
            let (given, node, told) = (Arc::clone(&sockets), node.clone(), Arc::clone(&facts));
            let mut abort = Abort(Some(stream.try_clone()?));
            let outcome = tokio::task::spawn_blocking(move || give(stream, &node, &given, &told)).await.context("the hand-over panicked")?;
            abort.0 = None;
            match outcome {
                Ok(successor) => {
                    // The path is the successor's from here on.
                    unlink.keep();
                    return Ok(successor);
                }
                Err(error) => {
                    facts.handing_over.store(false, Ordering::Relaxed);
                    tracing::warn!(error = &*error, "no hand-over took place; this process goes on serving");
                }
            }
        }
    }
}

/// Ends a hand-over that is under way when this process is told to stop: its thread must not wait for a successor then.
#[derive(Debug)]
struct Abort(Option<UnixStream>);

impl Drop for Abort {
    fn drop(&mut self) {
        if let Some(stream) = &self.0 {
            // It may have ended by itself.
            stream.shutdown(std::net::Shutdown::Both).ok();
        }
    }
}

/// Removes the socket's file, unless it has become a successor's.
#[derive(Debug)]
struct Unlink {
    path: Option<PathBuf>,
}

impl Unlink {
    /// Leaves the file where it is.
    fn keep(mut self) {
        self.path = None;
    }
}

impl Drop for Unlink {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            std::fs::remove_file(path).ok();
        }
    }
}

fn give(stream: UnixStream, node: &str, sockets: &Sockets, facts: &Facts) -> Result<Successor> {
    wire::limit(&stream, ANSWER_WITHIN)?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).context("cannot tell who asks")?;
    let ask = wire::receive::<Ask>(&stream).context("no question came")?;
    let own = rustix::process::geteuid();
    let refusal = if peer.uid != own && !peer.uid.is_root() {
        Some("it runs as another user".to_owned())
    } else if ask.protocol != PROTOCOL {
        Some(format!("it asks in form {}, this process knows form {PROTOCOL}; stop this one first", ask.protocol))
    } else if ask.node != node {
        Some(format!("this is node {node}, not {}", ask.node))
    } else {
        None
    };
    if let Some(refused) = refusal {
        wire::send(&stream, &Offer::Refused { refused: refused.clone() })?;
        bail!("process {} was refused: {refused}", peer.pid.as_raw_nonzero());
    }
    tracing::info!(successor = peer.pid.as_raw_nonzero().get(), "another process asks for the listening sockets");
    facts.handing_over.store(true, Ordering::Relaxed);
    let (data, control) = (sockets.data.len(), sockets.control.len());
    wire::send(&stream, &Offer::Given { protocol: PROTOCOL, node: node.to_owned(), pid: std::process::id(), data, control })?;
    wire::send_descriptors(&stream, &sockets.data.iter().chain(&sockets.control).map(AsFd::as_fd).collect::<Vec<_>>())?;
    wire::limit(&stream, SERVING_WITHIN)?;
    let serving = wire::receive::<Serving>(&stream).context("the other process ended before it served")?;
    ensure!(serving.serving, "the other process does not serve");
    Ok(Successor { stream })
}

impl Successor {
    /// Tells it that this process accepts no more.
    pub fn draining(self) {
        // It may have ended since; then there is nobody to tell, and the sockets are closed with this process.
        if let Err(error) = wire::send(&self.stream, &Draining { draining: true }) {
            tracing::warn!(error = &*error, "the process that took over does not listen any more");
        }
    }
}

/// Starts another process of this node at each SIGUSR2: the program that lies where this one's lay, with the same arguments.
/// It asks for the sockets by itself.
pub async fn start_successors(mut upgrade: Signal, can_hand_over: bool) {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    while upgrade.recv().await.is_some() {
        if !can_hand_over {
            tracing::warn!("SIGUSR2: the node file has no `handover`, so no other process can take over");
            continue;
        }
        let Some((program, rest)) = arguments.split_first() else { continue };
        // What systemd said to this process alone must not be taken for its own.
        let mut command = tokio::process::Command::new(program);
        command.args(rest).env_remove("WATCHDOG_PID").env_remove("LISTEN_PID").env_remove("LISTEN_FDS").stdin(Stdio::null());
        match command.spawn() {
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "SIGUSR2: {} cannot be started", program.to_string_lossy()),
            Ok(mut child) => {
                tracing::info!(successor = child.id(), "SIGUSR2: started {} to take over", program.to_string_lossy());
                // Once it has taken over, this process ends before it does.
                let ended = child.wait().await;
                tracing::error!(status = ?ended.ok(), "the process that should take over has ended; this one goes on serving");
            }
        }
    }
}

/// Takes sockets that systemd passes (`sd_listen_fds(3)`): those called `control` for operators, all others for clients.
///
/// # Errors
/// When one is no listening TCP socket.
pub fn activated(names: Option<&str>) -> Result<Sockets> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut names = names.unwrap_or_default().split(':');
    let mut sockets = Sockets::default();
    for index in 0..passed.len() {
        let socket = passed.take_tcp_listener(index).context("a socket that systemd passed is no TCP socket")?;
        let Some(socket) = socket else { continue };
        socket.set_nonblocking(true)?;
        let of = if names.next() == Some("control") { &mut sockets.control } else { &mut sockets.data };
        of.push(socket);
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests;
