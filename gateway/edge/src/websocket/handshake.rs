//! The opening handshake: what the client asks for, and whether the service has understood it.

use aws_lc_rs::{digest, rand};
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use model::{
    problem::{Denial, ProblemKind},
    structure::Route,
};

use super::wish::Wish;
use crate::{head::Head, tls::Protocol};

/// RFC 6455 section 1.3: what a service that speaks WebSocket appends to the key, and no other would.
const SECRET_OF_THE_PROTOCOL: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The only version there is (RFC 6455 section 4.1).
const VERSION: &str = "13";

/// A handshake that the route takes.
#[derive(Debug)]
pub struct Handshake {
    /// `Sec-WebSocket-Accept` of a service that has understood.
    accept: String,
    /// Names of subprotocols that the client offers.
    offered: Vec<HeaderValue>,
    /// The stream of an extended CONNECT, once it has been answered.
    pub(super) stream: Option<OnUpgrade>,
    /// How the client speaks.
    pub(super) over: Protocol,
}

/// Checks the handshake of a request that wants to become a WebSocket, and turns it into the one that the service gets; `None`
/// for the usual request.
///
/// # Errors
/// `upgrade-unsupported` on a route that takes none, `websocket-invalid`, `websocket-version`, `origin-forbidden`.
pub fn check(route: &Route, head: &mut Head) -> Result<Option<Box<Handshake>>, Denial> {
    let Some(wish) = head.wish else { return Ok(None) };
    let Some(rules) = &route.websocket else {
        return Err(Denial::new(ProblemKind::UpgradeUnsupported, "this route takes no WebSockets"));
    };
    let authority = head.parts.uri.authority().map(http::uri::Authority::as_str);
    let authority = authority.or_else(|| head.parts.headers.get(header::HOST)?.to_str().ok()).unwrap_or_default();
    let mut origins = head.parts.headers.get_all(header::ORIGIN).iter();
    if let Some(origin) = origins.next() {
        let is_allowed = origin.to_str().is_ok_and(|origin| rules.pages.allow(origin, authority));
        if !is_allowed || origins.next().is_some() {
            return Err(Denial::new(ProblemKind::OriginForbidden, "pages of this origin may not open a WebSocket on this route"));
        }
    }
    if let Wish::Upgrade { is_named: false, .. } = wish {
        return Err(invalid("the handshake has `Upgrade` without `Connection: upgrade`"));
    }
    if let Wish::Upgrade { has_body: true, .. } = wish {
        return Err(invalid("the handshake has a body; frames come after the answer"));
    }
    if *head.method() != Method::GET {
        return Err(invalid("the method of the handshake is GET"));
    }
    let headers = &mut head.parts.headers;
    if only(headers, &header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        return Err(Denial::new(ProblemKind::WebSocketVersion, "the handshake must have `Sec-WebSocket-Version: 13`, once"));
    }
    let (over, stream) = match wish {
        Wish::Upgrade { .. } => (Protocol::Http1, None),
        Wish::Connect => {
            // RFC 8441 section 5: clients have no key there, services over HTTP/1.1 want one.
            headers.insert(header::SEC_WEBSOCKET_KEY, new_key()?);
            (Protocol::Http2, head.parts.extensions.remove::<OnUpgrade>())
        }
    };
    let headers = &mut head.parts.headers;
    headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    let key = only(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let accept = accept(key.ok_or_else(|| invalid("the handshake must have a `Sec-WebSocket-Key` of 16 bytes in base64, once"))?);
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().cloned().collect();
    Ok(Some(Box::new(Handshake { accept, offered, stream, over })))
}

impl Handshake {
    /// Checks what the service says with its 101 (RFC 6455 section 4.1, the client's part).
    ///
    /// # Errors
    /// `upstream-malformed`.
    pub(super) fn verify(&self, headers: &HeaderMap) -> Result<(), Denial> {
        let failed = |detail: &'static str| Err(Denial::new(ProblemKind::UpstreamMalformed, detail));
        if only(headers, &header::UPGRADE).is_none_or(|name| !name.eq_ignore_ascii_case("websocket")) {
            return failed("the service switched to another protocol than WebSocket");
        }
        if only(headers, &header::SEC_WEBSOCKET_ACCEPT) != Some(&self.accept) {
            return failed("the service's `Sec-WebSocket-Accept` does not belong to the key");
        }
        let mut chosen = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let is_offered = |name: &HeaderValue| {
            let offered = self.offered.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
            offered.map(<[u8]>::trim_ascii).any(|offered| !offered.is_empty() && offered == name.as_bytes())
        };
        match (chosen.next(), chosen.next()) {
            (None, _) => Ok(()),
            (Some(name), None) if is_offered(name) => Ok(()),
            (Some(_), _) => failed("the service chose a subprotocol that was not offered"),
        }
    }

    /// Makes the service's fields those of the answer to the client, and gives its status.
    pub(super) fn answer(&self, headers: &mut HeaderMap) -> StatusCode {
        headers.remove(header::CONTENT_LENGTH);
        match self.over {
            Protocol::Http1 => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                StatusCode::SWITCHING_PROTOCOLS
            }
            // Over HTTP/3 nothing is switched: extended CONNECT is not offered there.
            Protocol::Http2 | Protocol::Http3 => {
                headers.remove(header::UPGRADE);
                headers.remove(header::SEC_WEBSOCKET_ACCEPT);
                StatusCode::OK
            }
        }
    }
}

/// Says in the refusal of a handshake's version which one is spoken (RFC 6455 section 4.4, RFC 9110 section 15.5.22).
pub fn explain(kind: ProblemKind, over: Protocol, headers: &mut HeaderMap) {
    if kind != ProblemKind::WebSocketVersion {
        return;
    }
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
    if over == Protocol::Http1 {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// The value of a field that stands there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?.to_str().ok()?.trim();
    all.next().is_none().then_some(first)
}

/// 16 bytes in base64: 22 characters and two of padding. What they are does not matter.
fn is_key(text: &str) -> bool {
    text.len() == 24
        && text.strip_suffix("==").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')))
}

fn new_key() -> Result<HeaderValue, Denial> {
    let mut bytes = [0_u8; 16];
    let filled = rand::fill(&mut bytes).ok().and_then(|()| HeaderValue::from_str(&BASE64.encode(&bytes)).ok());
    filled.ok_or_else(|| Denial::new(ProblemKind::Internal, "the random source failed"))
}

/// RFC 6455 section 4.2.2, step 5.4. SHA-1 proves nothing here, and need not: it shows that the answer is meant.
fn accept(key: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(SECRET_OF_THE_PROTOCOL);
    BASE64.encode(context.finish().as_ref())
}

fn invalid(detail: &'static str) -> Denial {
    Denial::new(ProblemKind::WebSocketInvalid, detail)
}

#[cfg(test)]
mod tests;
