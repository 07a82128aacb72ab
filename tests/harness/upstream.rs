//! An upstream that records what it receives and misbehaves on demand.
//!
//! Requests are parsed by hyper; a misbehavior is written to the socket past it, byte for byte as told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// One request as the upstream saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The number of its connection, from 0.
    pub connection: u64,
    /// The method.
    pub method: Method,
    /// The request target, undecoded.
    pub target: String,
    /// All headers, in the order received.
    pub headers: HeaderMap,
    /// The whole body; `Err` with what had come when the client broke off.
    pub body: Result<Bytes, Bytes>,
}

/// How the upstream answers.
#[derive(Debug, Clone)]
pub enum Behavior {
    /// An ordinary answer.
    Answer {
        /// Its status.
        status: StatusCode,
        /// Its body.
        body: Bytes,
    },
    /// Waits before the head, and before each piece of the body.
    Slow {
        /// Before the head is sent.
        before_head: Duration,
        /// Before each piece.
        before_piece: Duration,
        /// The body's pieces, sent chunked.
        pieces: Vec<Bytes>,
    },
    /// Takes the request and never answers.
    Hang,
    /// Writes exactly these bytes and then does what `then` says.
    Raw {
        /// The bytes of the answer, lawful or not.
        bytes: Bytes,
        /// What becomes of the connection.
        then: Ending,
    },
}

/// What becomes of a connection after raw bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// An orderly end (FIN).
    Close,
    /// A reset (RST).
    Reset,
    /// It stays open and silent.
    Silence,
}

impl Behavior {
    /// 200 with a body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::Answer { status: StatusCode::OK, body: body.into() }
    }

    /// Closes after the request, without an answer.
    pub fn close_early() -> Self {
        Self::raw("", Ending::Close)
    }

    /// Resets after the request, without an answer.
    pub fn reset() -> Self {
        Self::raw("", Ending::Reset)
    }

    /// Promises 100 bytes, sends 10, and closes.
    pub fn promises_too_much() -> Self {
        Self::raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789", Ending::Close)
    }

    /// Promises 4 bytes, and sends a second answer behind them on the same connection.
    pub fn sends_more_than_promised() -> Self {
        Self::raw("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n0123HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen", Ending::Silence)
    }

    /// A chunked body that ends in the middle of a chunk.
    pub fn truncated() -> Self {
        Self::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\nhalf", Ending::Close)
    }

    fn raw(bytes: &'static str, then: Ending) -> Self {
        Self::Raw { bytes: Bytes::from_static(bytes.as_bytes()), then }
    }
}

#[derive(Debug)]
struct State {
    behavior: Behavior,
    seen: Vec<Seen>,
    connections: u64,
}

/// A running upstream; dropping it closes the port and all connections.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

impl Recorder {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(behavior: Behavior) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("the upstream cannot bind a port")?;
        let address = listener.local_addr().context("no local address")?;
        let state = Arc::new(Mutex::new(State { behavior, seen: Vec::new(), connections: 0 }));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { address, state, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the answer to requests that come from now on.
    pub fn behave(&self, behavior: Behavior) {
        lock(&self.state).behavior = behavior;
    }

    /// All requests so far, in the order in which their bodies ended.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state).seen.clone()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        lock(&self.state).connections
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let number = {
                    let mut state = lock(&state);
                    state.connections += 1;
                    state.connections - 1
                };
                connections.spawn(serve(stream, number, Arc::clone(&state)));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn serve(stream: TcpStream, connection: u64, state: Arc<Mutex<State>>) {
    // A second descriptor of the same socket, for what hyper would never write.
    let Ok(stream) = stream.into_std() else { return };
    let Ok(side_door) = stream.try_clone().and_then(TcpStream::from_std) else { return };
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let side_door = Arc::new(side_door);

    let service = service_fn(|request: Request<Incoming>| {
        let state = Arc::clone(&state);
        let side_door = Arc::clone(&side_door);
        async move { answer(request, connection, &state, &side_door).await }
    });
    // A client that breaks off is a case under test and not an error here.
    drop(hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(TokioIo::new(stream), service).await);
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

async fn answer(request: Request<Incoming>, connection: u64, state: &Mutex<State>, side_door: &TcpStream) -> Result<Answer> {
    let (head, body) = request.into_parts();
    let body = read(body).await;
    let behavior = {
        let mut state = lock(state);
        state.seen.push(Seen { connection, method: head.method, target: head.uri.to_string(), headers: head.headers, body });
        state.behavior.clone()
    };
    match behavior {
        Behavior::Answer { status, body } => {
            let mut response = Response::new(Full::new(body).boxed());
            *response.status_mut() = status;
            Ok(response)
        }
        Behavior::Slow { before_head, before_piece, pieces } => {
            tokio::time::sleep(before_head).await;
            let pieces = stream::unfold(pieces.into_iter(), move |mut left| async move {
                let piece = left.next()?;
                tokio::time::sleep(before_piece).await;
                Some((Ok(Frame::data(piece)), left))
            });
            Ok(Response::new(BodyExt::boxed(StreamBody::new(Box::pin(pieces)))))
        }
        Behavior::Hang => std::future::pending().await,
        Behavior::Raw { bytes, then } => {
            write_raw(side_door, &bytes).await?;
            match then {
                // An error of the service makes hyper end the connection without writing.
                Ending::Close => anyhow::bail!("closes as told"),
                Ending::Reset => {
                    side_door.set_zero_linger()?;
                    anyhow::bail!("resets as told")
                }
                Ending::Silence => std::future::pending().await,
            }
        }
    }
}

async fn write_raw(stream: &TcpStream, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn read(mut body: Incoming) -> Result<Bytes, Bytes> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(all.into());
        };
        if let Some(data) = frame.data_ref() {
            all.extend_from_slice(data);
        }
    }
    Ok(all.into())
}
