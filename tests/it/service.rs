//! A service that a test plays: it records what comes and answers byte for byte as told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// One request as the service read it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The number of the request on its connection, from 0.
    pub(crate) turn: usize,
    /// Request line and header lines, without the empty line.
    pub(crate) head: String,
    /// The body, unchunked; trailer lines follow in `trailers`.
    pub(crate) body: Vec<u8>,
    /// Trailer lines of a chunked body.
    pub(crate) trailers: Vec<String>,
}

impl Seen {
    /// The request line.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// Values of a header, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

/// What a service does next on a connection.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Writes these bytes.
    Send(Bytes),
    /// Ends the connection in order.
    Close,
    /// Resets the connection.
    Reset,
    /// Does nothing more, with the connection open.
    Hang,
}

/// An ordinary answer with a body.
pub(crate) fn ok(body: &str) -> Vec<Act> {
    raw(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

/// Bytes as they are, and the connection goes on.
pub(crate) fn raw(text: &str) -> Vec<Act> {
    vec![Act::Send(Bytes::copy_from_slice(text.as_bytes()))]
}

/// Bytes as they are, and an end.
pub(crate) fn raw_then(text: &str, act: Act) -> Vec<Act> {
    vec![Act::Send(Bytes::copy_from_slice(text.as_bytes())), act]
}

/// A running service; it ends with this value.
#[derive(Debug)]
pub(crate) struct Service {
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Service {
    pub(crate) fn start(listener: TcpListener, act: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let (seen, connections) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicUsize>::default());
        let mut task = JoinSet::new();
        let (shared, number, act) = (Arc::clone(&seen), Arc::clone(&connections), Arc::new(act));
        task.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                number.fetch_add(1, Ordering::SeqCst);
                let (seen, act) = (Arc::clone(&shared), Arc::clone(&act));
                served.spawn(async move { drop(serve(stream, &seen, &*act).await) });
            }
        });
        Self { seen, connections, _task: task }
    }

    /// Everything that came whole, so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Seen>>, act: &(impl Fn(&Seen) -> Vec<Act> + ?Sized)) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut left = Vec::new();
    for turn in 0.. {
        let request = read_request(&mut stream, &mut left, turn).await?;
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        for act in act(&request) {
            match act {
                Act::Send(bytes) => stream.write_all(&bytes).await?,
                Act::Close => return stream.shutdown().await,
                Act::Reset => return stream.set_zero_linger(),
                Act::Hang => std::future::pending().await,
            }
        }
    }
    Ok(())
}

/// Reads a head and its body.
pub(crate) async fn read_request(stream: &mut TcpStream, left: &mut Vec<u8>, turn: usize) -> std::io::Result<Seen> {
    let head = until(stream, left, b"\r\n\r\n").await?;
    let head = String::from_utf8_lossy(&head).trim_end().to_owned();
    let mut seen = Seen { turn, head, body: Vec::new(), trailers: Vec::new() };
    if let Some(length) = seen.header("content-length").first().and_then(|text| text.parse::<usize>().ok()) {
        seen.body = exactly(stream, left, length).await?;
    } else if seen.header("transfer-encoding") == ["chunked"] {
        loop {
            let size = until(stream, left, b"\r\n").await?;
            let size = usize::from_str_radix(String::from_utf8_lossy(&size).trim(), 16).map_err(std::io::Error::other)?;
            if size == 0 {
                break;
            }
            let mut chunk = exactly(stream, left, size + 2).await?;
            chunk.truncate(size);
            seen.body.extend(chunk);
        }
        loop {
            let line = until(stream, left, b"\r\n").await?;
            if line == b"\r\n" {
                break;
            }
            seen.trailers.push(String::from_utf8_lossy(&line).trim().to_owned());
        }
    }
    Ok(seen)
}

async fn until(stream: &mut TcpStream, left: &mut Vec<u8>, mark: &[u8]) -> std::io::Result<Vec<u8>> {
    loop {
        if let Some(at) = left.windows(mark.len()).position(|window| window == mark) {
            let rest = left.split_off(at + mark.len());
            return Ok(std::mem::replace(left, rest));
        }
        more(stream, left).await?;
    }
}

async fn exactly(stream: &mut TcpStream, left: &mut Vec<u8>, n: usize) -> std::io::Result<Vec<u8>> {
    while left.len() < n {
        more(stream, left).await?;
    }
    let rest = left.split_off(n);
    Ok(std::mem::replace(left, rest))
}

async fn more(stream: &mut TcpStream, left: &mut Vec<u8>) -> std::io::Result<()> {
    if stream.read_buf(left).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
