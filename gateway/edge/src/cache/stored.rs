//! A response that is kept, and what can be made of it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use model::time::{BootNanos, UtcMicros};

use super::{
    policy::{self, Freshness},
    purge::{CACHE_TAG, Label, Origin},
};

/// Fields of a stored response that a 304 repeats (RFC 9110 section 15.4.5).
const NOT_MODIFIED_FIELDS: [HeaderName; 7] =
    [header::CACHE_CONTROL, header::CONTENT_LOCATION, header::DATE, header::ETAG, header::EXPIRES, header::VARY, header::LAST_MODIFIED];
/// Fields of a 304 that do not replace those of the stored response (RFC 9111 section 3.2).
const KEPT_FIELDS: [HeaderName; 4] = [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::CONTENT_TYPE, header::CONTENT_RANGE];
/// What a header entry costs beside its text.
const ENTRY_BYTES: usize = 64;
/// What a stored response costs beside its fields and body.
const STORED_BYTES: usize = 512;

/// A response that is kept.
#[derive(Debug)]
pub struct Stored {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    vary: Vec<(HeaderName, Vec<u8>)>,
    freshness: Freshness,
    /// When its request left: a change or a purge after that makes it worthless.
    origin: Origin,
    received_at: BootNanos,
}

impl Stored {
    /// Keeps a response; `asked` are the fields of its request, for `Vary`.
    pub fn new(
        status: StatusCode,
        mut headers: HeaderMap,
        body: &Bytes,
        asked: &HeaderMap,
        freshness: Freshness,
        origin: Origin,
        now: (BootNanos, UtcMicros),
    ) -> Self {
        headers.remove(header::AGE);
        headers.remove(CACHE_TAG);
        headers.remove("x-request-id");
        if !headers.contains_key(header::DATE)
            && let Some(date) = policy::date_text(now.1)
        {
            headers.insert(header::DATE, date);
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        let vary = policy::vary(&headers).map(|name| (name.clone(), asked_for(asked, &name))).collect();
        // A copy: the piece that came may be a small part of a large buffer.
        Self { status, headers, body: Bytes::copy_from_slice(body), vary, freshness, origin, received_at: now.0 }
    }

    /// The same response, confirmed by a 304: its fields are updated (RFC 9111 section 3.2).
    pub fn confirmed(&self, fresh: &HeaderMap) -> HeaderMap {
        let mut headers = self.headers.clone();
        for name in fresh.keys().filter(|name| !KEPT_FIELDS.contains(name)) {
            headers.remove(name);
            for value in fresh.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        headers
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The body.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// When its request left.
    pub const fn requested_at(&self) -> BootNanos {
        self.origin.requested_at
    }

    /// By what it can be purged.
    pub const fn label(&self) -> &Label {
        &self.origin.label
    }

    /// True when a request with these fields would have got this response (RFC 9111 section 4.1).
    pub fn is_for(&self, asked: &HeaderMap) -> bool {
        self.vary.iter().all(|(name, value)| asked_for(asked, name) == *value)
    }

    /// True when both stand for the same selection of request fields.
    pub fn replaces(&self, other: &Self) -> bool {
        self.vary == other.vary
    }

    /// Its age, in seconds.
    pub const fn age(&self, now: BootNanos) -> u64 {
        self.freshness.age.saturating_add(now.nanos_since(self.received_at) / 1_000_000_000)
    }

    /// For how many seconds it is still fresh; negative when it is stale.
    pub fn ttl(&self, now: BootNanos) -> i64 {
        i64::try_from(self.freshness.lifetime).unwrap_or(i64::MAX).saturating_sub(i64::try_from(self.age(now)).unwrap_or(i64::MAX))
    }

    /// True while it may be given although it is stale, because it is being asked for again.
    pub fn may_be_stale_while_revalidated(&self, now: BootNanos) -> bool {
        self.is_within(self.freshness.while_revalidate, now)
    }

    /// True while it may be given although it is stale, because asking failed.
    pub fn may_be_stale_on_error(&self, now: BootNanos) -> bool {
        self.is_within(self.freshness.if_error, now)
    }

    fn is_within(&self, seconds: u64, now: BootNanos) -> bool {
        self.ttl(now).saturating_add_unsigned(seconds) > 0
    }

    /// The fields that ask the service whether it is still good; `None` when it has no validator.
    pub fn validators(&self) -> Option<[(HeaderName, Option<HeaderValue>); 2]> {
        let tag = self.headers.get(header::ETAG).cloned();
        let modified = self.headers.get(header::LAST_MODIFIED).cloned();
        (tag.is_some() || modified.is_some()).then_some([(header::IF_NONE_MATCH, tag), (header::IF_MODIFIED_SINCE, modified)])
    }

    /// The response for a request with these fields: a 304 when the client has it already.
    pub fn response(&self, asked: &HeaderMap, now: BootNanos) -> Response<Bytes> {
        let is_known = self.status == StatusCode::OK && self.is_known_to(asked);
        let mut response = Response::new(if is_known { Bytes::new() } else { self.body.clone() });
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            for name in &NOT_MODIFIED_FIELDS {
                for value in self.headers.get_all(name) {
                    response.headers_mut().append(name.clone(), value.clone());
                }
            }
        } else {
            *response.status_mut() = self.status;
            *response.headers_mut() = self.headers.clone();
        }
        response.headers_mut().insert(header::AGE, HeaderValue::from(self.age(now)));
        response
    }

    /// Evaluates `If-None-Match`, else `If-Modified-Since` (RFC 9110 section 13.2.2).
    fn is_known_to(&self, asked: &HeaderMap) -> bool {
        let mut tags = asked.get_all(header::IF_NONE_MATCH).iter().peekable();
        if tags.peek().is_some() {
            let own = self.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(opaque);
            let listed: Vec<&str> = tags.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).map(str::trim).collect();
            return listed.contains(&"*") || own.is_some_and(|own| listed.iter().any(|tag| opaque(tag) == own));
        }
        let since = policy::date(asked.get(header::IF_MODIFIED_SINCE));
        let modified = policy::date(self.headers.get(header::LAST_MODIFIED));
        matches!((since, modified), (Some(since), Some(modified)) if modified <= since)
    }

    /// What it takes of the memory, in bytes.
    pub fn bytes(&self) -> usize {
        let fields: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ENTRY_BYTES).sum();
        let vary: usize = self.vary.iter().map(|(name, value)| name.as_str().len() + value.len() + ENTRY_BYTES).sum();
        self.body.len() + fields + vary + self.label().bytes() + STORED_BYTES
    }
}

/// Weak comparison (RFC 9110 section 8.8.3.2) looks at the opaque part alone.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// A request field's values as one, for comparison; an absent field is an empty one.
fn asked_for(asked: &HeaderMap, name: &HeaderName) -> Vec<u8> {
    let values: Vec<&[u8]> = asked.get_all(name).iter().map(|value| value.as_bytes().trim_ascii()).collect();
    values.join(&b", "[..])
}

#[cfg(test)]
mod tests;
