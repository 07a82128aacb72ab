//! HTTP/3: its sockets, and what clients of the other versions are told about it.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use edge::{
    http3::{self, Door, Quic},
    runtime::Settings,
    tls::Certificates,
};
use http::HeaderValue;
use tokio::sync::oneshot;

use crate::{config::data::Http3Config, task::Tasks};

/// For how long clients remember where HTTP/3 is: a node that no longer serves it is asked in vain for a day at most, and the
/// other versions are there meanwhile (RFC 7838 section 2.2).
const REMEMBERED_SECONDS: u32 = 24 * 60 * 60;
/// How often a port is tried that the process before still has.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// Where a node speaks HTTP/3.
#[derive(Debug)]
pub(super) struct Plan {
    quic: Quic,
    address: SocketAddr,
}

impl Plan {
    /// Plans for the node's settings, and notes in them what clients are told.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(super) fn new(config: &Http3Config, data: SocketAddr, certificates: Arc<Certificates>, settings: &mut Settings) -> Result<Self> {
        let address = config.listen.unwrap_or(data);
        let port = config.advertised_port.unwrap_or(address.port());
        settings.alt_svc = Some(HeaderValue::from_str(&format!("h3=\":{port}\"; ma={REMEMBERED_SECONDS}"))?);
        Ok(Self { quic: Quic::new(certificates, settings).context("cannot speak HTTP/3")?, address })
    }

    /// A door for each core. Behind a process that still serves, the sockets follow when it has left: in one group with its own
    /// they would get a part of its connections' datagrams.
    ///
    /// # Errors
    /// When the port is taken.
    pub(super) fn doors(&self, cores: usize, is_successor: bool, tasks: &Tasks) -> Result<Vec<Door>> {
        let (senders, doors): (Vec<_>, Vec<_>) = (0..cores).map(|_| self.quic.door()).unzip();
        let address = self.address;
        if is_successor {
            tasks.spawn("http3 sockets", follow(address, senders));
        } else {
            let sockets = http3::bind(address, cores).with_context(|| {
                format!("cannot listen on {address} (HTTP/3, UDP): is another program using the port? choose another in the node file")
            })?;
            give(senders, sockets);
        }
        Ok(doors)
    }
}

fn give(senders: Vec<oneshot::Sender<UdpSocket>>, sockets: Vec<UdpSocket>) {
    for (sender, socket) in senders.into_iter().zip(sockets) {
        // A core that is gone needs none.
        drop(sender.send(socket));
    }
}

/// Binds as soon as the process before has left.
async fn follow(address: SocketAddr, senders: Vec<oneshot::Sender<UdpSocket>>) {
    let mut pulse = tokio::time::interval(TRY_EVERY);
    loop {
        pulse.tick().await;
        match http3::bind(address, senders.len()) {
            Ok(sockets) => {
                tracing::info!(%address, "HTTP/3 is served; the process before has left");
                return give(senders, sockets);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => {
                tracing::error!(%address, error = &error as &dyn std::error::Error, "HTTP/3 cannot be served");
                return;
            }
        }
    }
}
