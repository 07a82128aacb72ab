//! The PROXY protocol: a balancer in front says whose connection it passes on, before the first byte of TLS.
//!
//! Source: <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>, sections 2.1 (version 1) and 2.2 (version 2). The
//! sender must be trusted and must send it: section 2 forbids guessing, because a client could write the header itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::network::Networks;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses take at most 216 bytes; the rest is for type-length-values, which are skipped. Real ones stay below 1 KiB.
const BODY_BYTES_MAX: u16 = 2_048;
/// Section 2.1: a line has at most 107 bytes, its end included.
const LINE_BYTES_MAX: usize = 107;

/// Whether the text form is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version1 {
    /// It is.
    Accept,
    /// Only version 2 is.
    Refuse,
}

/// Who must send the header.
#[derive(Debug, Clone)]
pub struct ProxyProtocol {
    /// The senders; other peers are clients themselves, and speak TLS at once.
    pub from: Networks,
    /// Whether they may use the text form.
    pub version_1: Version1,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The connection is passed on for this client.
    Client(IpAddr),
    /// The sender's own connection (a health check), or one whose source has no address: the socket's address counts.
    Sender,
}

/// Why a connection is closed before TLS.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The sender closed, or the socket failed.
    #[error("the connection ended before the PROXY header")]
    Io(#[from] std::io::Error),
    /// The first bytes are no header, or a damaged one.
    #[error("the first bytes are no PROXY header: {0}")]
    Malformed(&'static str),
}

/// Reads one header, and not a byte more.
///
/// # Errors
/// [`ProxyError`]; the connection must then be closed without an answer.
///
/// # Cancel
/// A dropped future loses what was read: close the connection.
pub async fn read(stream: &mut (impl AsyncRead + Unpin), version_1: Version1) -> Result<Source, ProxyError> {
    // Both forms are longer than the signature.
    let mut start = [0_u8; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return binary(stream).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(ProxyError::Malformed("neither signature"));
    }
    match version_1 {
        Version1::Accept => text(stream, &start).await,
        Version1::Refuse => Err(ProxyError::Malformed("version 1 is refused by configuration")),
    }
}

/// A version 2 header that passes a connection on for a client. It says nothing about ports and the other end: [`read`] skips them.
pub fn header(client: IpAddr) -> Vec<u8> {
    let (family, source) = match client.to_canonical() {
        IpAddr::V4(address) => (0x11, address.octets().to_vec()),
        IpAddr::V6(address) => (0x21, address.octets().to_vec()),
    };
    // Two addresses of the family, two ports: at most 36 bytes.
    let len = if family == 0x11 { 12_u8 } else { 36 };
    let mut header = [&SIGNATURE[..], &[0x21, family, 0, len], &source].concat();
    header.resize(SIGNATURE.len() + 4 + usize::from(len), 0);
    header
}

async fn binary(stream: &mut (impl AsyncRead + Unpin)) -> Result<Source, ProxyError> {
    let [version_and_command, family, high, low] = {
        let mut fixed = [0_u8; 4];
        stream.read_exact(&mut fixed).await?;
        fixed
    };
    let len = u16::from_be_bytes([high, low]);
    if version_and_command >> 4 != 2 {
        return Err(ProxyError::Malformed("not version 2"));
    }
    if len > BODY_BYTES_MAX {
        return Err(ProxyError::Malformed("longer than 2048 bytes"));
    }
    let mut body = vec![0_u8; usize::from(len)];
    stream.read_exact(&mut body).await?;
    match version_and_command & 0x0f {
        // LOCAL: the sender's own connection, whatever addresses follow.
        0 => return Ok(Source::Sender),
        1 => {}
        _ => return Err(ProxyError::Malformed("an unknown command")),
    }
    let short = ProxyError::Malformed("too short for its addresses");
    match family {
        // TCP over IPv4: two addresses, two ports.
        0x11 => body.get(..12).and_then(|body| body.first_chunk::<4>()).map(|source| client(Ipv4Addr::from(*source))).ok_or(short),
        0x21 => body.get(..36).and_then(|body| body.first_chunk::<16>()).map(|source| client(Ipv6Addr::from(*source))).ok_or(short),
        // UNSPEC, and families without an IP address.
        0x00 | 0x31 => Ok(Source::Sender),
        _ => Err(ProxyError::Malformed("not a TCP connection")),
    }
}

async fn text(stream: &mut (impl AsyncRead + Unpin), start: &[u8]) -> Result<Source, ProxyError> {
    let mut line = start.to_vec();
    // Byte by byte: what follows the line belongs to TLS.
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_BYTES_MAX {
            return Err(ProxyError::Malformed("a line of more than 107 bytes"));
        }
        line.push(stream.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).map_err(|_| ProxyError::Malformed("not ASCII"))?;
    let mut words = line.trim_end_matches("\r\n").split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(Source::Sender);
    }
    let (Some(source), Some(target), Some(source_port), Some(target_port), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(ProxyError::Malformed("not two addresses and two ports"));
    };
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    if !is_port(source_port) || !is_port(target_port) {
        return Err(ProxyError::Malformed("not a port"));
    }
    let source = match family {
        Some("TCP4") => source.parse::<Ipv4Addr>().ok().filter(|_| target.parse::<Ipv4Addr>().is_ok()).map(client),
        Some("TCP6") => source.parse::<Ipv6Addr>().ok().filter(|_| target.parse::<Ipv6Addr>().is_ok()).map(client),
        _ => None,
    };
    source.ok_or(ProxyError::Malformed("not an address of its family"))
}

fn client(address: impl Into<IpAddr>) -> Source {
    Source::Client(address.into().to_canonical())
}

#[cfg(test)]
mod tests;
