//! What a request wants its connection, or its stream, to become.

use http::{HeaderMap, HeaderName, Method, Version, header, request::Parts};
use hyper::ext::Protocol;
use model::problem::{Denial, ProblemKind};

/// A request for a WebSocket, before anything is known about its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// By `Upgrade` (RFC 6455 section 4.1).
    Upgrade {
        /// `Connection` names it, as it must (RFC 9110 section 7.8).
        is_named: bool,
        /// A body comes before the frames.
        has_body: bool,
    },
    /// By an extended CONNECT over HTTP/2 (RFC 8441 section 5).
    Connect,
}

impl Wish {
    /// Reads the wish of a request; `None` for the usual one, which has none.
    ///
    /// # Errors
    /// `method-not-allowed` for a plain CONNECT, `upgrade-unsupported` for any other protocol, `request-malformed` for fields
    /// of a connection in HTTP/2.
    pub fn of(parts: &Parts) -> Result<Option<Self>, Denial> {
        if parts.method == Method::CONNECT {
            return match parts.extensions.get::<Protocol>() {
                Some(protocol) if protocol.as_str() == "websocket" => Ok(Some(Self::Connect)),
                Some(_) => Err(unsupported()),
                None => Err(Denial::new(ProblemKind::MethodNotAllowed, "CONNECT and TRACE are not served")),
            };
        }
        if !parts.headers.contains_key(header::UPGRADE) {
            return Ok(None);
        }
        match parts.version {
            // RFC 9113 section 8.2.2; the codec below refuses it already.
            Version::HTTP_2 => return Err(Denial::new(ProblemKind::RequestMalformed, "`Upgrade` has no place in HTTP/2")),
            // RFC 9110 section 7.8: it is ignored.
            Version::HTTP_10 => return Ok(None),
            _ => {}
        }
        let is_h2c = |token: &[u8]| token.eq_ignore_ascii_case(b"h2c");
        if tokens(&parts.headers, &header::UPGRADE).all(is_h2c) {
            return Ok(None); // it may be ignored (RFC 9110 section 7.8), and goes no further
        }
        let mut wanted = tokens(&parts.headers, &header::UPGRADE);
        match (wanted.next(), wanted.next()) {
            (Some(only), None) if only.eq_ignore_ascii_case(b"websocket") => Ok(Some(Self::Upgrade {
                is_named: tokens(&parts.headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade")),
                has_body: parts.headers.contains_key(header::TRANSFER_ENCODING)
                    || parts.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0"),
            })),
            _ => Err(unsupported()),
        }
    }
}

/// The members of a list field, over all of its lines (RFC 9110 section 5.6.1).
pub(super) fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    lines.map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

fn unsupported() -> Denial {
    Denial::new(ProblemKind::UpgradeUnsupported, "the only protocol that a connection can be switched to is WebSocket, and one at a time")
}
