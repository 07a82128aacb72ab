//! The first bytes of a connection: TLS, plain HTTP by mistake, or garbage.

use std::sync::Arc;

use rustls::{ProtocolVersion, ServerConfig};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{corked::Corked, linger::linger};

/// Finishes a handshake. Plain HTTP is answered with 400 and the problem document that `plain` makes, because people do type
/// `http://`; everything else ends without an answer, except for TLS's own alerts.
///
/// # Cancel
/// A dropped future closes the connection; callers limit the time.
pub async fn accept(mut stream: TcpStream, tls: Arc<ServerConfig>, plain: impl FnOnce() -> String) -> Option<TlsStream<Corked>> {
    let mut first = [0_u8; 1];
    // 0x16: a TLS record with a handshake (RFC 8446 section 5.1).
    match stream.peek(&mut first).await {
        Ok(1) if first == [0x16] => match TlsAcceptor::from(tls).accept(Corked::new(stream)).into_fallible().await {
            Ok(mut stream) => begin(&mut stream).await.then_some(stream),
            Err((_error, mut stream)) => {
                stream.uncork();
                stream.flush().await.ok();
                end(stream.into_inner()).await;
                None
            }
        },
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
