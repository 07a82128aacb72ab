//! WebSockets that last as long as the run: half of them over HTTP/1.1, half over HTTP/2.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use harness::client::Version;
use harness::websocket::{self, Client, Session};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ground::Door;

/// Between two messages of one.
const PACE: Duration = Duration::from_millis(100);
/// WebSockets of one HTTP/2 connection.
const STREAMS: u64 = 50;

/// Clients that say something again and again, and wait for it to come back.
pub(crate) struct Sockets {
    over: CancellationToken,
    clients: JoinSet<Result<u64, String>>,
}

impl Sockets {
    /// Opens `n` of them on `path`.
    pub(super) async fn start(door: &Door, path: &str, n: u64) -> Result<Self> {
        let over = CancellationToken::new();
        let mut clients = JoinSet::new();
        for client in open(door, Version::Http1, path, n / 2).await?.into_iter().chain(open(door, Version::Http2, path, n - n / 2).await?) {
            clients.spawn(talk(client, over.clone()));
        }
        Ok(Self { over, clients })
    }

    /// Ends them; how many messages came back, and what went wrong.
    pub(super) async fn end(mut self) -> (u64, Vec<String>) {
        self.over.cancel();
        let (mut messages, mut failed) = (0, Vec::new());
        while let Some(done) = self.clients.join_next().await {
            match done {
                Ok(Ok(n)) => messages += n,
                Ok(Err(why)) => failed.push(why),
                Err(error) => failed.push(error.to_string()),
            }
        }
        (messages, failed)
    }
}

/// Opens `n` WebSockets: each on a connection of its own, or many on one.
pub(crate) async fn open(door: &Door, version: Version, path: &str, n: u64) -> Result<Vec<Client>> {
    let mut all = Vec::new();
    let refused = |answer: http::Response<Vec<u8>>| anyhow!("a handshake was answered {}", answer.status());
    while (all.len() as u64) < n {
        let stream = Box::new(door.connect(version).await?);
        match version {
            Version::Http1 => all.push(websocket::open_http1(stream, path, &[]).await?.map_err(refused)?),
            Version::Http2 => {
                let mut session = Session::start(stream).await?;
                for _ in 0..STREAMS.min(n - all.len() as u64) {
                    all.push(session.open(path, &[]).await?.map_err(refused)?);
                }
            }
        }
    }
    Ok(all)
}

async fn talk(mut client: Client, over: CancellationToken) -> Result<u64, String> {
    let mut pulse = tokio::time::interval(PACE);
    for n in 0.. {
        tokio::select! {
            _tick = pulse.tick() => {}
            () = over.cancelled() => {
                client.close(1000).await.context("closing").map_err(|error| format!("{error:#}"))?;
                return Ok(n);
            }
        }
        client.echo(format!("message {n}")).await.map_err(|error| format!("after {n} messages: {error:#}"))?;
    }
    Ok(0)
}
