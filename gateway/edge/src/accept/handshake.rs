//! The first bytes of a connection: TLS, plain HTTP by mistake, or garbage.

use std::{pin::Pin, sync::Arc};

use rustls::{ProtocolVersion, server::Acceptor};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{Accept, LazyConfigAcceptor, TlsAcceptor, server::TlsStream};

use super::{corked::Corked, entrance::Handshakes, linger::linger};
use crate::certificate::Shown;

/// A client's TLS connection.
pub type Stream = TlsStream<Corked>;

/// A connection whose handshake is over.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// What the client showed of itself.
    pub shown: Shown,
}

/// For whom a client might have to show a certificate.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'n> {
    /// Nobody has looked yet: for any host at all.
    Anybody,
    /// It does not say for whom it comes.
    Unnamed,
    /// The host that it named (RFC 6066 section 3).
    Host(&'n str),
}

/// Finishes a handshake. Plain HTTP is answered with 400 and the problem document that `plain` makes, because people do type
/// `http://`; everything else ends without an answer, except for TLS's own alerts. `asks` says whether the client is asked for a
/// certificate; it is asked about [`Asked::Anybody`] first, and where that is false nothing is looked at.
///
/// # Cancel
/// A dropped future closes the connection; callers limit the time.
pub async fn accept(mut stream: TcpStream, tls: &Handshakes, asks: impl Fn(Asked<'_>) -> bool, plain: impl FnOnce() -> String) -> Option<Accepted> {
    let mut first = [0_u8; 1];
    // 0x16: a TLS record with a handshake (RFC 8446 section 5.1).
    match stream.peek(&mut first).await {
        Ok(1) if first == [0x16] => {
            let stream = Corked::new(stream);
            if asks(Asked::Anybody) {
                // Boxed: the usual handshake should not carry the room of this one.
                return Box::pin(by_name(stream, tls, asks)).await;
            }
            let stream = finish(TlsAcceptor::from(Arc::clone(&tls.usual)).accept(stream)).await?;
            Some(Accepted { stream, shown: Shown::NotAsked })
        }
        Ok(1) if first.first().is_some_and(u8::is_ascii_uppercase) => {
            let body = plain();
            let text = format!(
                "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(text.as_bytes()).await.ok();
            end(stream).await;
            None
        }
        Ok(1) => {
            end(stream).await;
            None
        }
        Ok(_) | Err(_) => None,
    }
}

/// A handshake that asks for a certificate where the host that the client names needs one.
async fn by_name(stream: Corked, tls: &Handshakes, asks: impl Fn(Asked<'_>) -> bool) -> Option<Accepted> {
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
    let Ok(start) = Pin::new(&mut acceptor).await else {
        if let Some(stream) = acceptor.take_io() {
            failed(stream).await;
        }
        return None;
    };
    let is_asked = asks(start.client_hello().server_name().map_or(Asked::Unnamed, Asked::Host));
    let config = if is_asked { &tls.asking } else { &tls.usual };
    let stream = finish(start.into_stream(Arc::clone(config))).await?;
    let shown = if is_asked { Shown::of(stream.get_ref().1.peer_certificates()) } else { Shown::NotAsked };
    Some(Accepted { stream, shown })
}

async fn finish(handshake: Accept<Corked>) -> Option<TlsStream<Corked>> {
    match handshake.into_fallible().await {
        Ok(mut stream) => begin(&mut stream).await.then_some(stream),
        Err((_error, stream)) => {
            failed(stream).await;
            None
        }
    }
}

/// Sends the alert that says why, and ends.
async fn failed(mut stream: Corked) {
    stream.uncork();
    stream.flush().await.ok();
    end(stream.into_inner()).await;
}

/// Session tickets wait for the first bytes of HTTP. Before TLS 1.3 they come with the end of the handshake, for which the client
/// waits. False when the connection is gone.
async fn begin(stream: &mut TlsStream<Corked>) -> bool {
    let (io, session) = stream.get_mut();
    if session.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
        io.begin();
        return true;
    }
    io.uncork();
    io.flush().await.is_ok()
}

/// Ends a connection so that what was written arrives. A client that goes on sending is given up on after 256 KiB.
async fn end(mut stream: TcpStream) {
    stream.shutdown().await.ok();
    linger(stream, 256 << 10).await;
}
