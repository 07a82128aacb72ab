//! Compression of responses on routes that ask for it.
//!
//! Only complete representations of listed types, never what is already encoded, partial, or marked `no-transform`
//! (RFC 9110 section 7.7). What streams is flushed whenever the service pauses, so nothing is held back.
//!
//! Secrets beside text that an attacker chooses leak through the length of a compressed response (BREACH); that is why it
//! is off unless asked, and what `docs/configuration.md` warns of.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body;
use model::{filter::CodingDoc, structure::filter::Compression};

use crate::{body::ReplyBody, fields};

mod coder;
mod stream;

pub use coder::Coder;
pub use stream::Compressed;

/// Up to this size a body at hand is compressed in one go: about 2 ms of one core with brotli.
const AT_ONCE_BYTES_MAX: usize = 64 << 10;

/// The best coding that a request accepts of those that are offered (RFC 9110 section 12.5.3).
///
/// The highest weight wins, and among equals the order of the offer. `None`: the response stays as it is; a request without
/// `Accept-Encoding` leaves the choice to us, and many such clients cannot decode.
pub fn negotiate(headers: &HeaderMap, offered: &[CodingDoc]) -> Option<CodingDoc> {
    let mut weights = [None; 3];
    let (mut identity, mut any) = (None, None);
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for member in values.flat_map(|text| text.split(',')) {
        let (name, parameters) = member.split_once(';').map_or((member, None), |(name, rest)| (name, Some(rest)));
        let Some(weight) = parameters.map_or(Some(1_000), weight) else { continue };
        let slot = match name.trim() {
            name if name.eq_ignore_ascii_case("zstd") => &mut weights[0],
            name if name.eq_ignore_ascii_case("br") => &mut weights[1],
            // `x-gzip` is the same (RFC 9110 section 8.4.1.3).
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => &mut weights[2],
            name if name.eq_ignore_ascii_case("identity") => &mut identity,
            "*" => &mut any,
            _ => continue,
        };
        *slot = Some(weight);
    }
    let [zstd, br, gzip] = weights;
    let mut best: Option<(u16, CodingDoc)> = None;
    for coding in offered {
        let named = match coding {
            CodingDoc::Zstd => zstd,
            CodingDoc::Br => br,
            CodingDoc::Gzip => gzip,
        };
        let weight = named.or(any).unwrap_or(0);
        if weight > best.map_or(0, |(weight, _)| weight) {
            best = Some((weight, *coding));
        }
    }
    let (weight, coding) = best?;
    (identity.unwrap_or(0) <= weight).then_some(coding)
}

/// A `q` parameter in thousandths (RFC 9110 section 12.4.2); `None` when it is none.
fn weight(parameter: &str) -> Option<u16> {
    let text = parameter.trim().strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('=')?.trim_start();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1_000),
        _ => None,
    }
}

/// Compresses a response if it may be and the client accepts it; says in `Vary` that others may get it otherwise.
pub fn answer(rules: &Compression, accepted: Option<CodingDoc>, is_head: bool, response: Response<ReplyBody>) -> Response<ReplyBody> {
    let (mut parts, body) = response.into_parts();
    if !may_change(rules, parts.status, &parts.headers) {
        return Response::from_parts(parts, body);
    }
    fields::vary(&mut parts.headers, "accept-encoding");
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok()).or(body.size_hint().exact());
    let is_worth_it = length.is_none_or(|length| length >= rules.bytes_min && length > 0);
    let Some(coding) = accepted.filter(|_| is_worth_it && !is_head && parts.status != StatusCode::NOT_MODIFIED) else {
        return Response::from_parts(parts, body);
    };
    let body = match body {
        ReplyBody::Whole(Some(bytes)) if bytes.len() <= AT_ONCE_BYTES_MAX => match coder::whole(coding, &bytes) {
            Some(smaller) if smaller.len() < bytes.len() => {
                parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(smaller.len()));
                ReplyBody::Whole(Some(smaller))
            }
            // Already dense, whatever its type says.
            _ => return Response::from_parts(parts, ReplyBody::Whole(Some(bytes))),
        },
        body @ (ReplyBody::Whole(_) | ReplyBody::Stream(_) | ReplyBody::Compressed(_)) => match Coder::new(coding) {
            Some(coder) => {
                parts.headers.remove(header::CONTENT_LENGTH);
                ReplyBody::Compressed(Box::new(Compressed::new(body, coder)))
            }
            None => return Response::from_parts(parts, body),
        },
    };
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    // Ranges of the compressed bytes cannot be had from the service.
    parts.headers.remove(header::ACCEPT_RANGES);
    weaken(&mut parts.headers);
    Response::from_parts(parts, body)
}

/// True for a complete representation of a listed type that nobody has encoded or signed byte by byte.
fn may_change(rules: &Compression, status: StatusCode, headers: &HeaderMap) -> bool {
    if status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT) {
        return false;
    }
    // RFC 9530: digests are over the content as it is encoded.
    let fixed = [header::CONTENT_ENCODING.as_str(), header::CONTENT_RANGE.as_str(), "content-digest", "repr-digest", "digest", "content-md5"];
    if fixed.iter().any(|name| headers.contains_key(*name)) || has_no_transform(headers) {
        return false;
    }
    // A 304 stands for a response that had a type; it seldom repeats it.
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.map_or(status == StatusCode::NOT_MODIFIED, |text| rules.covers(text))
}

fn has_no_transform(headers: &HeaderMap) -> bool {
    let directives = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    directives.map(str::trim).any(|directive| directive.eq_ignore_ascii_case("no-transform"))
}

/// A strong validator promises the same bytes (RFC 9110 section 8.8.1), which these no longer are.
fn weaken(headers: &mut HeaderMap) {
    let Some(strong) = headers.get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"")) else { return };
    match HeaderValue::from_bytes(&[b"W/", strong.as_bytes()].concat()) {
        Ok(weak) => drop(headers.insert(header::ETAG, weak)),
        Err(_) => drop(headers.remove(header::ETAG)),
    }
}

#[cfg(test)]
mod tests;
