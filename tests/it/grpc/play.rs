//! A client and services of gRPC whose messages are bytes as they are.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::{HeaderMap, HeaderValue, uri::PathAndQuery};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::{Request, Response, Status};

use crate::operation::dial;
use crate::wire;

/// Messages as they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// What a service answers: trailers alone for an error, else messages, of which the last may be an error.
pub(crate) type Answer = Result<Response<BoxStream<'static, Result<Bytes, Status>>>, Status>;

/// One call as a service sees it.
pub(crate) struct Asked {
    /// How many calls of the same path came before it.
    pub(crate) turn: usize,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) messages: Streaming<Bytes>,
}

impl Asked {
    /// The only message.
    pub(crate) async fn message(mut self) -> Result<Bytes, Status> {
        self.messages.message().await?.ok_or_else(|| Status::invalid_argument("no message"))
    }
}

/// Messages that are at hand.
pub(crate) fn messages(list: impl IntoIterator<Item = Result<Bytes, Status>>) -> Response<BoxStream<'static, Result<Bytes, Status>>> {
    Response::new(stream::iter(list.into_iter().collect::<Vec<_>>()).boxed())
}

/// A running service; it ends with this value.
pub(crate) struct Service {
    seen: Arc<Mutex<Vec<(String, HeaderMap)>>>,
    open: Arc<AtomicUsize>,
    cut: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Service {
    /// Resets a call of `/…/Break`.
    pub(crate) fn cut(&self) {
        self.cut.notify_one();
    }

    /// The fields of every call so far.
    pub(crate) fn seen(&self) -> Vec<HeaderMap> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(_, headers)| headers.clone()).collect()
    }

    /// How often a path was called.
    pub(crate) fn calls(&self, path: &str) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|(seen, _)| seen == path).count()
    }

    /// Calls that run now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// One of the calls that run.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Plays a service: on the wire calls of all kinds are alike. A call of `/…/Break` gets half an answer instead.
pub(crate) fn play(listener: TcpListener, act: impl Fn(Asked) -> BoxFuture<'static, Answer> + Clone + Send + Sync + 'static) -> Service {
    let (seen, open, mut tasks) = (Arc::<Mutex<Vec<(String, HeaderMap)>>>::default(), Arc::<AtomicUsize>::default(), JoinSet::new());
    let (all, running, cut) = (Arc::clone(&seen), Arc::clone(&open), Arc::<Notify>::default());
    let told = Arc::clone(&cut);
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (seen, act, open, cut) = (Arc::clone(&all), act.clone(), Arc::clone(&running), Arc::clone(&told));
            let service = service_fn(move |request: http::Request<Incoming>| {
                let turn = {
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    let path = request.uri().path().to_owned();
                    let turn = seen.iter().filter(|(seen, _)| *seen == path).count();
                    seen.push((path, request.headers().clone()));
                    turn
                };
                let (act, open, cut) = (act.clone(), Open::new(&open), Arc::clone(&cut));
                async move {
                    if request.uri().path().ends_with("/Break") {
                        return Ok::<_, std::convert::Infallible>(broken(cut));
                    }
                    let method = Method { act, turn, path: request.uri().path().to_owned(), headers: request.headers().clone(), open: Some(open) };
                    Ok(tonic::server::Grpc::new(Raw).streaming(method, request).await)
                }
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            connections.spawn(async move { drop(server.serve_connection(TokioIo::new(stream), service).await) });
        }
    });
    Service { seen, open, cut, _tasks: tasks }
}

/// One message, and a reset when it is told.
fn broken(cut: Arc<Notify>) -> http::Response<Body> {
    let frames = stream::once(std::future::ready(Ok(Frame::data(Bytes::from_static(&[0, 0, 0, 0, 1, b'x'])))));
    let end = stream::once(async move {
        cut.notified().await;
        Err(std::io::Error::other("as told"))
    });
    let mut response = http::Response::new(Body::new(StreamBody::new(frames.chain(end))));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

struct Method<F> {
    act: F,
    turn: usize,
    path: String,
    headers: HeaderMap,
    open: Option<Open>,
}

impl<F: Fn(Asked) -> BoxFuture<'static, Answer>> tonic::server::StreamingService<Bytes> for Method<F> {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = BoxFuture<'static, Answer>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let asked = Asked { turn: self.turn, path: self.path.clone(), headers: self.headers.clone(), messages: request.into_inner() };
        let (answer, open) = ((self.act)(asked), self.open.take());
        Box::pin(async move {
            // A call is over when nobody reads its messages any more.
            Ok(answer.await?.map(|messages| messages.map(move |message| (&open, message).1).boxed()))
        })
    }
}

/// A connection to the gateway, as a client's channel.
#[derive(Debug, Clone)]
pub(crate) struct Channel(SendRequest<Body>);

impl tower::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// A client of gRPC, with a connection of its own.
pub(crate) struct Client {
    pub(crate) grpc: tonic::client::Grpc<Channel>,
    _connection: JoinSet<()>,
}

impl Client {
    pub(crate) async fn connect(address: std::net::SocketAddr, ca: &std::path::Path) -> Self {
        let stream = dial(address, None, b"", "127.0.0.1", wire::tls(ca, "h2")).await.unwrap();
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(connection.await) });
        let origin = format!("https://{address}").parse().unwrap();
        Self { grpc: tonic::client::Grpc::with_origin(Channel(sender), origin), _connection: tasks }
    }

    /// A call with one message in each direction.
    pub(crate) async fn unary(&mut self, path: &'static str, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        self.grpc.ready().await.unwrap();
        self.grpc.unary(request, PathAndQuery::from_static(path), Raw).await
    }

    /// A call with messages in both directions.
    pub(crate) async fn streaming(
        &mut self,
        path: &'static str,
        request: Request<impl futures_util::Stream<Item = Bytes> + Send + 'static>,
    ) -> Result<Response<Streaming<Bytes>>, Status> {
        self.grpc.ready().await.unwrap();
        self.grpc.streaming(request, PathAndQuery::from_static(path), Raw).await
    }
}
