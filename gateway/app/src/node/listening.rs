//! Where a node's listening sockets come from: a process that hands over, systemd, or the kernel.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result};

use crate::{
    boot,
    config::NodeConfig,
    handover::{self, Predecessor, Sockets},
};

/// A node's sockets, and who serves on them until this process does.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) sockets: Sockets,
    pub(super) predecessor: Option<Predecessor>,
}

/// Takes the sockets of the process that serves, or those that systemd passes, and binds what is missing.
///
/// # Errors
/// When a port is taken, or the process that serves does not hand over.
pub(super) fn listen(config: &NodeConfig, cores: usize) -> Result<Listening> {
    let mut sockets = handover::activated(boot::environment("LISTEN_FDNAMES").as_deref())?;
    for (which, passed, wanted) in [("data", &sockets.data, config.data.listen), ("control", &sockets.control, config.control.listen)] {
        for actual in passed.iter().filter_map(|socket| socket.local_addr().ok()).filter(|actual| *actual != wanted) {
            tracing::warn!(%actual, %wanted, "systemd passes another {which} address than the node file names; systemd's is served");
        }
    }
    let mut predecessor = None;
    if let Some(handover) = &config.handover
        && let Some((given, process)) = handover::ask(&handover.socket, &config.node)?
    {
        tracing::info!(predecessor = process.pid(), "taking over from a process that serves");
        sockets = given;
        sockets.keep(config.data.listen, config.control.listen);
        predecessor = Some(process);
    }
    if sockets.data.is_empty() {
        sockets.data = bind("data", config.data.listen, cores)?;
    }
    if sockets.control.is_empty() {
        sockets.control = bind("control", config.control.listen, 1)?;
    }
    Ok(Listening { sockets, predecessor })
}

fn bind(which: &str, address: SocketAddr, count: usize) -> Result<Vec<TcpListener>> {
    edge::listener::bind(address, count)
        .with_context(|| format!("cannot listen on {address} ({which}): is another program using the port? choose another in the node file"))
}
