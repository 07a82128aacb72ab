//! The service behind a server under test. Without one in front of it, it is a control: what the codec alone keeps.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::listening::accept_each;

/// Answers every request with a few bytes, once it has come whole; over either protocol. Ends with the value.
pub fn serve(listener: TcpListener) -> JoinSet<()> {
    accept_each(listener, connection)
}

async fn connection(stream: TcpStream) {
    let mut first = [0; 3];
    let is_http2 = stream.peek(&mut first).await.is_ok() && first == *b"PRI";
    let io = TokioIo::new(stream);
    // An exchange that fails is the client's matter.
    if is_http2 {
        drop(hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service_fn(answer)).await);
    } else {
        drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service_fn(answer)).await);
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_whole = request.into_body().collect().await.is_ok();
    let mut response = Response::new(Full::new(Bytes::from_static(b"some bytes for a window to hold back")));
    if !is_whole {
        *response.status_mut() = hyper::StatusCode::BAD_REQUEST;
    }
    Ok(response)
}
