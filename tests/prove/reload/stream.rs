//! Answers that last as long as the run: one for each protocol.

use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::client::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::ground::Door;

/// Between two pieces.
const PACE: Duration = Duration::from_millis(50);
/// The longest silence that a client bears.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Clients that read a long answer.
pub(super) struct Streams {
    over: CancellationToken,
    clients: JoinSet<Result<u64, String>>,
}

impl Streams {
    /// Opens them, and returns once each has its head.
    pub(super) async fn start(door: &Door) -> Result<Self> {
        let over = CancellationToken::new();
        let mut clients = JoinSet::new();
        for version in [Version::Http1, Version::Http2] {
            // No deadline for the whole: it lasts as long as the run.
            let request = door.client(version)?.get(format!("{}/long/x", door.url())).timeout(Duration::from_hours(24));
            let answer = timeout(SILENCE_MAX, request.send()).await.context("a stream does not begin")??.error_for_status()?;
            clients.spawn(read(answer, over.clone()));
        }
        Ok(Self { over, clients })
    }

    /// Ends them; how many pieces came, and what broke off before.
    pub(super) async fn end(mut self) -> (u64, Vec<String>) {
        self.over.cancel();
        let (mut pieces, mut cut) = (0, Vec::new());
        while let Some(done) = self.clients.join_next().await {
            match done {
                Ok(Ok(n)) => pieces += n,
                Ok(Err(why)) => cut.push(why),
                Err(error) => cut.push(error.to_string()),
            }
        }
        (pieces, cut)
    }
}

/// Reads numbered pieces: none may be missing.
async fn read(mut answer: reqwest::Response, over: CancellationToken) -> Result<u64, String> {
    let mut text = String::new();
    let mut next = 0_u64;
    loop {
        let piece = tokio::select! {
            piece = timeout(SILENCE_MAX, answer.chunk()) => piece,
            () = over.cancelled() => return Ok(next),
        };
        match piece {
            Ok(Ok(Some(piece))) => text.push_str(&String::from_utf8_lossy(&piece)),
            Ok(Ok(None)) => return Err(format!("the answer ended after {next} pieces")),
            Ok(Err(error)) => return Err(format!("cut after {next} pieces: {error:?}")),
            Err(_) => return Err(format!("silent after {next} pieces")),
        }
        while let Some((number, rest)) = text.split_once('\n') {
            if number != next.to_string() {
                return Err(format!("piece {number} came in the place of {next}"));
            }
            next += 1;
            text = rest.to_owned();
        }
    }
}

/// Answers each request with numbered lines, without end.
pub(super) fn service(listener: TcpListener) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            served.spawn(async move { drop(serve(stream).await) });
        }
    });
    task
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    let mut pulse = tokio::time::interval(PACE);
    for n in 0_u64.. {
        pulse.tick().await;
        let line = format!("{n}\n");
        stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await?;
    }
    Ok(())
}
