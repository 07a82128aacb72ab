//! WebSockets at both ends of the gateway: a client over HTTP/1.1 or HTTP/2, and a service that says again what it hears.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::server;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

/// How long a client waits for anything.
const WITHIN: Duration = Duration::from_secs(15);

/// Any stream of bytes.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A client's end of an open WebSocket.
pub struct Client {
    socket: WebSocketStream<Box<dyn Wire>>,
    /// The answer to the handshake: 101, or 200 over HTTP/2.
    pub answer: Response<()>,
    /// The HTTP/2 connection lives as long as one of its streams.
    _session: Option<Arc<JoinSet<()>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("answer", &self.answer).finish_non_exhaustive()
    }
}

/// Opens a WebSocket over an HTTP/1.1 connection; a refusal is an answer with its body.
///
/// # Errors
/// When the connection breaks, or the answer breaks RFC 6455.
pub async fn open_http1(stream: Box<dyn Wire>, path: &str, fields: &[(&str, &str)]) -> Result<Result<Client, Response<Vec<u8>>>> {
    let mut request = Request::get(format!("wss://127.0.0.1{path}"))
        .header(header::HOST, "127.0.0.1")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, tungstenite::handshake::client::generate_key());
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    match tokio::time::timeout(WITHIN, client_async(request.body(())?, stream)).await.context("no answer to the handshake")? {
        Ok((socket, answer)) => Ok(Ok(Client { socket, answer: answer.map(drop), _session: None })),
        Err(tungstenite::Error::Http(answer)) => Ok(Err(answer.map(Option::unwrap_or_default))),
        Err(error) => Err(error.into()),
    }
}

/// An HTTP/2 connection of a client; it ends with this value and its WebSockets.
#[derive(Debug)]
pub struct Session {
    sender: SendRequest<Empty<Bytes>>,
    task: Arc<JoinSet<()>>,
}

impl Session {
    /// Begins HTTP/2, and waits until the server's settings are known.
    ///
    /// # Errors
    /// When the connection breaks, or takes no extended CONNECT (RFC 8441).
    pub async fn start(stream: Box<dyn Wire>) -> Result<Self> {
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let mut task = JoinSet::new();
        task.spawn(async move { drop(connection.await) });
        // Settings come before the first answer.
        let first = Request::get("https://127.0.0.1/").body(Empty::new())?;
        drop(tokio::time::timeout(WITHIN, sender.send_request(first)).await.context("no first answer")??);
        Ok(Self { sender, task: Arc::new(task) })
    }

    /// Opens a WebSocket; a refusal is an answer with its body.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn open(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Result<Client, Response<Vec<u8>>>> {
        let mut request = Request::connect(format!("https://127.0.0.1{path}"))
            .extension(Protocol::from_static("websocket"))
            .header(header::SEC_WEBSOCKET_VERSION, "13");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new())?;
        let mut answer = tokio::time::timeout(WITHIN, self.sender.send_request(request)).await.context("no answer to the handshake")??;
        if answer.status() != StatusCode::OK {
            return Ok(Err(whole(answer).await?));
        }
        let stream: Upgraded = hyper::upgrade::on(&mut answer).await?;
        let stream: Box<dyn Wire> = Box::new(TokioIo::new(stream));
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        Ok(Ok(Client { socket, answer: answer.map(drop), _session: Some(Arc::clone(&self.task)) }))
    }
}

async fn whole(answer: Response<Incoming>) -> Result<Response<Vec<u8>>> {
    let (parts, body) = answer.into_parts();
    let body = tokio::time::timeout(WITHIN, body.collect()).await.context("the refusal does not end")??;
    Ok(Response::from_parts(parts, body.to_bytes().to_vec()))
}

impl Client {
    /// Sends a message.
    ///
    /// # Errors
    /// When the WebSocket is closed.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<()> {
        tokio::time::timeout(WITHIN, self.socket.send(message.into())).await.context("the gateway takes no more")??;
        Ok(())
    }

    /// The next message that is no ping and no pong.
    ///
    /// # Errors
    /// When the WebSocket is closed without a close frame, or nothing comes in time.
    pub async fn next(&mut self) -> Result<Message> {
        loop {
            match tokio::time::timeout(WITHIN, self.socket.next()).await.context("no message comes")? {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(message) => return Ok(message?),
                None => bail!("the WebSocket is over"),
            }
        }
    }

    /// Sends a message and waits until it comes back.
    ///
    /// # Errors
    /// When it does not, or another one does.
    pub async fn echo(&mut self, message: impl Into<Message>) -> Result<()> {
        let message = message.into();
        self.send(message.clone()).await?;
        let back = self.next().await?;
        ensure!(back == message, "{} bytes went out, {} other bytes came back", message.len(), back.len());
        Ok(())
    }

    /// Waits for the close frame of the other side; its code, or `None` when the connection ended without one.
    ///
    /// # Errors
    /// When neither comes in time.
    pub async fn closed(&mut self) -> Result<Option<u16>> {
        loop {
            match tokio::time::timeout(WITHIN, self.socket.next()).await.context("the WebSocket stays open")? {
                Some(Ok(Message::Close(frame))) => {
                    // The answer leaves with the next look; then the other side hangs up.
                    let rest = async { while self.socket.next().await.is_some_and(|next| next.is_ok()) {} };
                    tokio::time::timeout(WITHIN, rest).await.context("the connection stays open behind the close")?;
                    return Ok(Some(frame.map_or(1005, |frame| frame.code.into())));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(None),
            }
        }
    }

    /// Closes with a code, and waits for the other side's close frame.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn close(&mut self, code: u16) -> Result<Option<u16>> {
        let frame = CloseFrame { code: CloseCode::from(code), reason: "done".into() };
        self.socket.close(Some(frame)).await?;
        self.closed().await
    }
}

/// What a service knows of one WebSocket that it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The fields of the handshake.
    pub fields: http::HeaderMap,
    /// Its path and query.
    pub target: String,
    /// Messages that came.
    pub messages: u64,
    /// How it ended: the code of the client's close frame, `None` when there was none. Outer `None` while it is open.
    pub end: Option<Option<u16>>,
}

/// A service that says again what it hears. A text that begins with `!` is a command: `!close CODE`, `!drop`, `!reset`, or
/// `!push COUNT BYTES` for messages of its own.
#[derive(Debug)]
pub struct Echo {
    served: Arc<Mutex<Vec<Served>>>,
    _task: JoinSet<()>,
}

impl Echo {
    /// Plays it on a listening socket.
    pub fn start(listener: TcpListener) -> Self {
        Self::over(listener, None)
    }

    /// Plays it behind TLS.
    pub fn over(listener: TcpListener, tls: Option<TlsAcceptor>) -> Self {
        let served = Arc::<Mutex<Vec<Served>>>::default();
        let mut task = JoinSet::new();
        let all = Arc::clone(&served);
        task.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (all, tls) = (Arc::clone(&all), tls.clone());
                open.spawn(async move { drop(serve(stream, tls, &all).await) });
                while open.try_join_next().is_some() {}
            }
        });
        Self { served, _task: task }
    }

    /// On a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn anywhere() -> Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        Ok((Self::start(listener), address))
    }

    /// All WebSockets so far, in the order of their handshakes.
    pub fn served(&self) -> Vec<Served> {
        lock(&self.served).clone()
    }
}

fn lock(served: &Mutex<Vec<Served>>) -> MutexGuard<'_, Vec<Served>> {
    served.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, all: &Mutex<Vec<Served>>) -> Result<()> {
    stream.set_nodelay(true)?;
    // A second descriptor of the same socket, to reset it under TLS and all.
    let stream = stream.into_std()?;
    let side_door = TcpStream::from_std(stream.try_clone()?)?;
    let stream = TcpStream::from_std(stream)?;
    let stream: Box<dyn Wire> = match tls {
        None => Box::new(stream),
        Some(tls) => Box::new(tls.accept(stream).await?),
    };
    let mut index = 0;
    #[expect(clippy::result_large_err, reason = "the type of a callback of tungstenite")]
    let note = |request: &server::Request, mut answer: server::Response| {
        let mut all = lock(all);
        index = all.len();
        all.push(Served { fields: request.headers().clone(), target: request.uri().to_string(), messages: 0, end: None });
        // The last subprotocol that is offered.
        let offered = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok()?.rsplit(',').next());
        if let Some(chosen) = offered.and_then(|name| name.trim().parse().ok()) {
            answer.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        Ok(answer)
    };
    let mut socket = accept_hdr_async(stream, note).await?;
    let end = talk(&mut socket, &side_door, || {
        if let Some(served) = lock(all).get_mut(index) {
            served.messages += 1;
        }
    })
    .await;
    if let Some(served) = lock(all).get_mut(index) {
        served.end = Some(end);
    }
    Ok(())
}

/// Speaks until the end; the code of the client's close frame.
async fn talk(socket: &mut WebSocketStream<Box<dyn Wire>>, side_door: &TcpStream, count: impl Fn()) -> Option<u16> {
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Close(frame) => {
                // The answer leaves with the next look, which ends.
                drop(socket.close(None).await);
                while socket.next().await.is_some_and(|next| next.is_ok()) {}
                return Some(frame.map_or(1005, |frame| frame.code.into()));
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            Message::Text(text) if text.starts_with('!') => {
                count();
                obey(socket, side_door, &text).await?;
            }
            message @ (Message::Text(_) | Message::Binary(_)) => {
                count();
                socket.send(message).await.ok()?;
            }
        }
    }
    None
}

/// Obeys a command; `None` when the connection is to be dropped.
async fn obey(socket: &mut WebSocketStream<Box<dyn Wire>>, side_door: &TcpStream, text: &str) -> Option<()> {
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        ["!close", code] => {
            let code: u16 = code.parse().ok()?;
            socket.close(Some(CloseFrame { code: CloseCode::from(code), reason: "told".into() })).await.ok()
        }
        ["!reset"] => {
            side_door.set_zero_linger().ok()?;
            None
        }
        ["!push", count, bytes] => {
            let (count, bytes): (u32, usize) = (count.parse().ok()?, bytes.parse().ok()?);
            for n in 0..count {
                let mut message = vec![0; bytes];
                message.get_mut(..4)?.copy_from_slice(&n.to_be_bytes());
                socket.send(Message::binary(message)).await.ok()?;
            }
            Some(())
        }
        _ => None,
    }
}
