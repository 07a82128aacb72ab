//! One request to a place outside, on a connection of its own: nothing is followed anywhere else, and nothing is kept.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::task::JoinSet;
use url::{Position, Url};

use super::{Addresses, Fault, open};

/// Bytes of an answer's head, and its fields.
const HEAD_BYTES_MAX: usize = 32 << 10;
const FIELDS_MAX: usize = 100;

/// What is sent.
#[derive(Debug)]
pub struct Question<'a> {
    /// Where to.
    pub url: &'a Url,
    /// Which addresses may be behind it.
    pub addresses: Addresses,
    /// `GET`, or `POST` with the body.
    pub body: Option<Bytes>,
    /// Fields besides `Host` and `User-Agent`.
    pub fields: HeaderMap,
}

/// The head of an answer. Its connection ends with it.
#[derive(Debug)]
pub struct Answered {
    response: Response<Incoming>,
    _connection: JoinSet<Result<(), hyper::Error>>,
}

impl Answered {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Its body.
    ///
    /// # Errors
    /// [`Fault::Body`] when it is longer than `bytes_max`, or breaks off.
    ///
    /// # Cancel
    /// Closes the connection.
    pub async fn body(self, bytes_max: usize) -> Result<Bytes, Fault> {
        let body = Limited::new(self.response.into_body(), bytes_max).collect().await;
        Ok(body.map_err(|_| Fault::Body(bytes_max))?.to_bytes())
    }
}

/// Sends one request.
///
/// # Errors
/// The first [`Fault`]. There is no deadline: that is the caller's. An answer with any status is none.
///
/// # Cancel
/// Closes the connection; the server may have acted all the same.
pub async fn send(question: Question<'_>, tls: &Arc<ClientConfig>) -> Result<Answered, Fault> {
    let Question { url, addresses, body, fields } = question;
    let mut request = Request::new(Full::new(body.clone().unwrap_or_default()));
    *request.method_mut() = if body.is_some() { Method::POST } else { Method::GET };
    *request.uri_mut() = url[Position::BeforePath..Position::AfterQuery].parse().map_err(|_| Fault::Place)?;
    let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]).map_err(|_| Fault::Place)?;
    *request.headers_mut() = fields;
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("causeway"));

    let stream = open(url, addresses, tls).await?;
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_headers(FIELDS_MAX).max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(Fault::Http)?;
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let response = sender.send_request(request).await.map_err(Fault::Http)?;
    Ok(Answered { response, _connection: connections })
}
