//! A careless proxy, for controls: it stands where the gateway should, and makes the mistakes that the checks must see.
//!
//! It takes the last `Content-Length` that it finds, knows only one spelling of `chunked`, prefers the length where both stand, takes
//! a lone LF for a line end, passes heads on as they came, and keeps every connection to the service whatever is left on it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::ground;

/// What the proxy answers when the service does not.
const FAILED: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: application/problem+json\r\ncontent-length: 2\r\n\r\n{}";

/// A connection and what was read from it too early.
#[derive(Debug)]
struct Half {
    stream: TcpStream,
    left: Vec<u8>,
}

type Pool = Arc<Mutex<Vec<Half>>>;

/// The proxy; it ends with this value.
pub(crate) struct Sloppy {
    pub(crate) address: SocketAddr,
    _task: JoinSet<()>,
}

impl Sloppy {
    /// Stands in front of a service on a port of 127.0.0.1.
    pub(crate) async fn start(service: u16) -> Result<Self> {
        let (listener, port) = ground::listener().await?;
        let mut task = JoinSet::new();
        task.spawn(accept(listener, service));
        Ok(Self { address: SocketAddr::from(([127, 0, 0, 1], port)), _task: task })
    }
}

async fn accept(listener: TcpListener, service: u16) {
    let pool = Pool::default();
    let mut served = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let pool = Arc::clone(&pool);
                served.spawn(async move { drop(serve(Half { stream, left: Vec::new() }, service, &pool).await) });
            },
            Some(_) = served.join_next(), if !served.is_empty() => {}
        }
    }
}

async fn serve(mut client: Half, service: u16, pool: &Pool) -> std::io::Result<()> {
    loop {
        let head = client.head().await?;
        let body = client.body(&head).await?;
        let kept = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut upstream = match kept {
            Some(kept) => kept,
            None => Half { stream: TcpStream::connect(("127.0.0.1", service)).await?, left: Vec::new() },
        };
        match exchange(&mut upstream, &head, &body).await {
            Ok(answer) => {
                client.stream.write_all(&answer).await?;
                pool.lock().unwrap_or_else(PoisonError::into_inner).push(upstream);
            }
            Err(_) => client.stream.write_all(FAILED).await?,
        }
    }
}

async fn exchange(upstream: &mut Half, head: &[u8], body: &[u8]) -> std::io::Result<Vec<u8>> {
    upstream.stream.write_all(head).await?;
    upstream.stream.write_all(body).await?;
    let mut answer = upstream.head().await?;
    let body = if head.starts_with(b"HEAD") { Vec::new() } else { upstream.body(&answer).await? };
    answer.extend(body);
    Ok(answer)
}

impl Half {
    /// A head, up to an empty line however its lines end.
    async fn head(&mut self) -> std::io::Result<Vec<u8>> {
        loop {
            let ends = [&b"\r\n\r\n"[..], b"\n\n", b"\n\r\n"];
            let found = ends.iter().filter_map(|end| Some(self.left.windows(end.len()).position(|window| window == *end)? + end.len())).min();
            if let Some(end) = found {
                return Ok(self.left.drain(..end).collect());
            }
            self.more().await?;
        }
    }

    /// The bytes of a body as they came, by the head that stands before it.
    async fn body(&mut self, head: &[u8]) -> std::io::Result<Vec<u8>> {
        let text = String::from_utf8_lossy(head).to_ascii_lowercase();
        let lengths = text.lines().filter_map(|line| line.strip_prefix("content-length:"));
        if let Some(length) = lengths.filter_map(|value| value.trim().parse::<usize>().ok()).next_back() {
            while self.left.len() < length {
                self.more().await?;
            }
            return Ok(self.left.drain(..length).collect());
        }
        if text.lines().any(|line| line == "transfer-encoding: chunked") {
            loop {
                if let Some(at) = self.left.windows(5).position(|window| window == b"0\r\n\r\n") {
                    return Ok(self.left.drain(..at + 5).collect());
                }
                self.more().await?;
            }
        }
        Ok(Vec::new())
    }

    async fn more(&mut self) -> std::io::Result<()> {
        if self.stream.read_buf(&mut self.left).await? == 0 || self.left.len() > 1 << 20 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}
