//! The first bytes of a connection: TLS, plain HTTP by mistake, or garbage.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::linger::linger;

/// Finishes a handshake. Plain HTTP is answered with 400 and the problem document that `plain` makes, because people do type
/// `http://`; everything else ends without an answer, except for TLS's own alerts.
///
/// # Cancel
/// A dropped future closes the connection; callers limit the time.
pub async fn accept(mut stream: TcpStream, tls: Arc<ServerConfig>, plain: impl FnOnce() -> String) -> Option<TlsStream<TcpStream>> {
    let mut first = [0_u8; 1];
    // 0x16: a TLS record with a handshake (RFC 8446 section 5.1).
    match stream.peek(&mut first).await {
        Ok(1) if first == [0x16] => match TlsAcceptor::from(tls).accept(stream).into_fallible().await {
            Ok(stream) => Some(stream),
            Err((_error, stream)) => {
                end(stream).await;
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

/// Ends a connection so that what was written arrives. A client that goes on sending is given up on after 256 KiB.
async fn end(mut stream: TcpStream) {
    stream.shutdown().await.ok();
    linger(stream, 256 << 10).await;
}
