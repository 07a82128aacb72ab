//! A response's head, read strictly (RFC 9112 sections 4 to 6).

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::chunks::Chunks;
use crate::fields;

/// Fields that the gateway adds to most responses: request id, region, two of limits, the date, and one more.
const ADDED: usize = 6;

/// Header fields that a response may have.
const FIELDS_MAX: usize = 100;

/// A head, and what follows from it.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// The service keeps the connection open behind the response (RFC 9112 section 9.3).
    pub(super) is_persistent: bool,
}

/// Where a response's body ends (RFC 9112 section 6.3).
#[derive(Debug)]
pub(super) enum Framing {
    /// After this many more bytes.
    Length(u64),
    /// At the last chunk.
    Chunked(Chunks),
    /// With the connection.
    UntilClose,
}

/// Names and places of the fields of a head; kept by the link, so that it is allocated once.
#[derive(Debug, Default)]
pub(super) struct Spans(Vec<(HeaderName, usize, usize)>);

/// What the fields say about the connection and the body.
#[derive(Debug, Default)]
struct Said {
    length: Option<u64>,
    is_chunked: bool,
    closes: bool,
    /// `Connection` names the switch of protocols.
    switches: bool,
    /// Fields that `Connection` names belong to the connection, too; rare.
    named: Vec<HeaderName>,
}

/// Takes a complete head off the input; `None` while it is not complete.
///
/// # Errors
/// A sentence, when it is not HTTP/1.1 or can be read in two ways.
pub(super) fn take(input: &mut BytesMut, spans: &mut Spans, is_head: bool, may_switch: bool) -> Result<Option<Head>, &'static str> {
    spans.0.clear();
    let mut said = Said::default();
    let (length, status, is_http11) = {
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, input, &mut fields);
        let httparse::Status::Complete(length) = parsed.map_err(|_| "the response's head is not valid HTTP/1.1")? else {
            return Ok(None);
        };
        let is_switch = response.code == Some(101);
        let start = input.as_ptr().addr();
        for field in response.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| "a header field's name is not valid")?;
            said.read(&name, field.value)?;
            if !fields::is_the_connections(&name) && !fields::is_the_gateways(&name) || is_switch && name == header::UPGRADE {
                let at = field.value.as_ptr().addr().wrapping_sub(start);
                spans.0.push((name, at, at.saturating_add(field.value.len())));
            }
        }
        (length, response.code.unwrap_or_default(), response.version == Some(1))
    };
    let status = StatusCode::from_u16(status).map_err(|_| "the status code is not valid")?;
    let framing = said.framing(status, is_http11, is_head)?;
    if status == StatusCode::SWITCHING_PROTOCOLS && !(may_switch && said.switches) {
        return Err("the service switched protocols unasked, or without saying so in `Connection`");
    }
    let bytes = input.split_to(length).freeze();
    let mut headers = HeaderMap::with_capacity(spans.0.len() + ADDED);
    for (name, from, to) in spans.0.drain(..) {
        // An empty value may point anywhere.
        let value = if from >= to { HeaderValue::from_static("") } else { value(bytes.slice(from..to))? };
        headers.append(name, value);
    }
    for name in &said.named {
        headers.remove(name);
    }
    let is_persistent = is_http11 && !said.closes && !matches!(framing, Framing::UntilClose);
    Ok(Some(Head { status, headers, framing, is_persistent }))
}

fn value(bytes: bytes::Bytes) -> Result<HeaderValue, &'static str> {
    HeaderValue::from_maybe_shared(bytes).map_err(|_| "a header field's value is not valid")
}

impl Said {
    fn read(&mut self, name: &HeaderName, value: &[u8]) -> Result<(), &'static str> {
        match *name {
            header::CONTENT_LENGTH => {
                let digits = std::str::from_utf8(value).ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
                let length = digits.and_then(|text| text.parse().ok()).ok_or("the Content-Length is not a number")?;
                if self.length.is_some_and(|known| known != length) {
                    return Err("the response has two lengths");
                }
                self.length = Some(length);
            }
            header::TRANSFER_ENCODING => {
                if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err("the only transfer coding is chunked, once");
                }
                self.is_chunked = true;
            }
            header::CONNECTION => {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    if option.eq_ignore_ascii_case(b"close") {
                        self.closes = true;
                    } else if option.eq_ignore_ascii_case(b"upgrade") {
                        self.switches = true;
                    } else if !option.eq_ignore_ascii_case(b"keep-alive") {
                        self.named.extend(HeaderName::from_bytes(option).ok().filter(fields::can_be_named_away));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn framing(&self, status: StatusCode, is_http11: bool, is_head: bool) -> Result<Framing, &'static str> {
        if self.is_chunked && (self.length.is_some() || !is_http11) {
            // RFC 9112 section 6.1: an attempt at smuggling, or a broken service; either way the connection is not to be trusted.
            return Err("Transfer-Encoding stands beside Content-Length, or in HTTP/1.0");
        }
        let is_bodiless = is_head || status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        Ok(match (is_bodiless, self.length) {
            (true, _) => Framing::Length(0),
            (false, _) if self.is_chunked => Framing::Chunked(Chunks::default()),
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::UntilClose,
        })
    }
}
