//! A service of which a test sees each piece that comes, and whose answers end when the test says so.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The size of an answer to `/…/large`: more than all windows and buffers on the way hold.
pub(super) const LARGE: u64 = 64 << 20;
const PIECE: usize = 1 << 16;

/// What has come of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// It goes on, with so many bytes until now.
    Coming(usize),
    /// It is whole.
    Whole(usize),
    /// It broke off.
    Broken(usize),
}

type Bodies = Arc<Mutex<HashMap<String, Body>>>;
type Reply = Response<BoxBody<Bytes, std::io::Error>>;

/// A running service; it ends with this value. By the end of the path it answers:
///
/// - `large`: [`LARGE`] bytes, as fast as they are taken;
/// - `half-close`, `half-reset`: half of a body, and an end of the connection when it is told; with `?chunked` the body has no length;
/// - `untaken`: how many bytes came, none of which it reads before it is told;
/// - anything else: how many bytes came.
pub(super) struct Stage {
    pub(super) address: SocketAddr,
    bodies: Bodies,
    sent: Arc<AtomicU64>,
    cut: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Stage {
    pub(super) fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // What it does not read must not lie here.
        socket.set_recv_buffer_size(64 << 10).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(256).unwrap();
        let address = listener.local_addr().unwrap();
        let (bodies, sent, cut) = (Bodies::default(), Arc::<AtomicU64>::default(), watch::Sender::new(false));
        let mut tasks = JoinSet::new();
        let play = Play { bodies: Arc::clone(&bodies), sent: Arc::clone(&sent), cut: cut.subscribe() };
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, play.clone()));
            }
        });
        Self { address, bodies, sent, cut, _tasks: tasks }
    }

    /// What has come of the body of the last request for a path.
    pub(super) fn body(&self, path: &str) -> Option<Body> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied()
    }

    /// Bytes of large answers that have left, all together.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Ends all answers that are half there.
    pub(super) fn cut(&self) {
        self.cut.send_replace(true);
    }
}

#[derive(Clone)]
struct Play {
    bodies: Bodies,
    sent: Arc<AtomicU64>,
    cut: watch::Receiver<bool>,
}

async fn serve(stream: TcpStream, play: Play) {
    let Ok(stream) = stream.into_std() else { return };
    // A second descriptor of the same socket, for what the server would never do.
    let Ok(side_door) = stream.try_clone().and_then(TcpStream::from_std) else { return };
    let (Ok(stream), side_door) = (TcpStream::from_std(stream), Arc::new(side_door)) else { return };
    let service = service_fn(|request| answer(request, play.clone(), Arc::clone(&side_door)));
    // A client that breaks off is a case under test.
    drop(hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(request: Request<Incoming>, play: Play, side_door: Arc<TcpStream>) -> Result<Reply, Infallible> {
    let (head, body) = request.into_parts();
    if head.uri.path().ends_with("/untaken") {
        note(&play.bodies, head.uri.path(), Body::Coming(0));
        let mut cut = play.cut.clone();
        // The stage is gone when this fails.
        drop(cut.wait_for(|cut| *cut).await);
    }
    let length = read(body, head.uri.path(), &play.bodies).await;
    let is_chunked = head.uri.query() == Some("chunked");
    Ok(match head.uri.path().rsplit('/').next() {
        Some("large") => large(play.sent),
        Some(word @ ("half-close" | "half-reset")) => half(play.cut, side_door, word == "half-reset", is_chunked),
        _ => Response::new(Full::new(Bytes::from(format!("{length} bytes"))).map_err(|never| match never {}).boxed()),
    })
}

/// Notes a body that breaks off, however that shows.
struct Reading<'b> {
    path: &'b str,
    bodies: &'b Bodies,
    length: usize,
    is_whole: bool,
}

impl Reading<'_> {
    fn note(&self, body: Body) {
        note(self.bodies, self.path, body);
    }
}

fn note(bodies: &Bodies, path: &str, body: Body) {
    bodies.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), body);
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.note(if self.is_whole { Body::Whole(self.length) } else { Body::Broken(self.length) });
    }
}

async fn read(mut body: Incoming, path: &str, bodies: &Bodies) -> usize {
    let mut reading = Reading { path, bodies, length: 0, is_whole: false };
    reading.note(Body::Coming(0));
    loop {
        match body.frame().await {
            None => break,
            Some(Err(_)) => return reading.length,
            Some(Ok(frame)) => reading.length += frame.data_ref().map_or(0, Bytes::len),
        }
        reading.note(Body::Coming(reading.length));
    }
    reading.is_whole = true;
    reading.length
}

fn with_length(length: Option<u64>, body: BoxBody<Bytes, std::io::Error>) -> Reply {
    let response = Response::builder();
    let response = length.into_iter().fold(response, |response, length| response.header("content-length", length));
    response.body(body).unwrap()
}

fn large(sent: Arc<AtomicU64>) -> Reply {
    let piece = Bytes::from(vec![b'a'; PIECE]);
    let pieces = stream::iter(0..LARGE / PIECE as u64).map(move |_| {
        sent.fetch_add(PIECE as u64, Ordering::SeqCst);
        Ok(Frame::data(piece.clone()))
    });
    with_length(Some(LARGE), BodyExt::boxed(StreamBody::new(pieces)))
}

fn half(mut cut: watch::Receiver<bool>, side_door: Arc<TcpStream>, is_reset: bool, is_chunked: bool) -> Reply {
    let first = stream::once(std::future::ready(Ok(Frame::data(Bytes::from_static(b"half")))));
    let end = stream::once(async move {
        drop(cut.wait_for(|is_cut| *is_cut).await);
        if is_reset {
            side_door.set_zero_linger()?;
        }
        Err(std::io::Error::other("as told"))
    });
    let length = (!is_chunked).then_some(8);
    with_length(length, BodyExt::boxed(StreamBody::new(Box::pin(first.chain(end)))))
}
