//! The end of a connection whose client may still be sending.

use std::time::Duration;

use tokio::{io::AsyncReadExt, net::TcpStream};

/// How long a client may pause in what nobody reads any more.
const PAUSE: Duration = Duration::from_millis(500);
/// How long all of that may take.
const LINGERS: Duration = Duration::from_secs(3);

/// Drops what a client still sends, up to `bytes_max`, after the sending side was shut down: with unread bytes, closing would
/// reset the connection, and a reset overtakes the last response (RFC 9112 section 9.6).
pub(super) async fn linger(mut stream: TcpStream, bytes_max: usize) {
    let drain = async {
        let mut sink = Vec::with_capacity(16 << 10);
        let mut left = bytes_max;
        while left > 0 {
            sink.clear();
            match tokio::time::timeout(PAUSE, stream.read_buf(&mut sink)).await {
                Ok(Ok(count)) if count > 0 => left = left.saturating_sub(count),
                _ => return,
            }
        }
    };
    tokio::time::timeout(LINGERS, drain).await.ok();
}
