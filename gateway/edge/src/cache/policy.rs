//! What RFC 9111 lets a shared cache keep, and for how long. Pure: headers and instants in, a verdict out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use model::time::UtcMicros;

/// The largest number of seconds that counts (RFC 9111 section 1.2.2).
const SECONDS_MAX: u64 = 1 << 31;

/// What `Cache-Control` says, of a request or of a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a directive that is there or not (RFC 9111 section 5.2)")]
pub struct Directives {
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache`, also when it names fields: asking again is always allowed.
    pub no_cache: bool,
    /// `private`, also when it names fields.
    pub private: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `max-age`.
    pub max_age: Option<u64>,
    /// `s-maxage`.
    pub s_maxage: Option<u64>,
    /// `min-fresh`.
    pub min_fresh: Option<u64>,
    /// `stale-while-revalidate` (RFC 5861 section 3).
    pub stale_while_revalidate: Option<u64>,
    /// `stale-if-error` (RFC 5861 section 4).
    pub stale_if_error: Option<u64>,
}

impl Directives {
    /// Reads all `Cache-Control` fields. What is not known is ignored (RFC 9111 section 5.2.3).
    pub fn read(headers: &HeaderMap) -> Self {
        let mut all = Self::default();
        for value in headers.get_all(header::CACHE_CONTROL) {
            // A value that is no text could hold anything: the strictest reading.
            let Ok(text) = value.to_str() else {
                all.no_store = true;
                continue;
            };
            for member in members(text) {
                all.add(member);
            }
        }
        all
    }

    fn add(&mut self, member: &str) {
        let (name, argument) = member.split_once('=').map_or((member, None), |(name, argument)| (name, Some(argument)));
        let argument = argument.map(|text| text.trim().trim_matches('"'));
        let lower = |slot: &mut Option<u64>| {
            // What is no number means stale, and of two numbers the smaller one holds (RFC 9111 section 4.2.1).
            let seconds = argument.map_or(0, seconds);
            *slot = Some(slot.map_or(seconds, |known| known.min(seconds)));
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "max-age" => lower(&mut self.max_age),
            "s-maxage" => lower(&mut self.s_maxage),
            "min-fresh" => lower(&mut self.min_fresh),
            "stale-while-revalidate" => lower(&mut self.stale_while_revalidate),
            "stale-if-error" => lower(&mut self.stale_if_error),
            _ => {}
        }
    }
}

/// Members of a list, split at commas outside quoted strings.
fn members(text: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c: char| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    })
    .map(str::trim)
    .filter(|member| !member.is_empty())
}

fn seconds(text: &str) -> u64 {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    text.parse().unwrap_or(SECONDS_MAX).min(SECONDS_MAX)
}

/// An HTTP date in seconds since 1970 (RFC 9110 section 5.6.7).
pub fn date(value: Option<&HeaderValue>) -> Option<u64> {
    let at = httpdate::parse_http_date(value?.to_str().ok()?).ok()?;
    at.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// An instant as an HTTP date.
pub fn date_text(at: UtcMicros) -> Option<HeaderValue> {
    let since = Duration::from_micros(u64::try_from(at.0).ok()?);
    HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since)).ok()
}

/// How long a response may be used, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// How old it was when it came.
    pub age: u64,
    /// Until which age it is fresh.
    pub lifetime: u64,
    /// How long after that it may still be given while it is asked for again.
    pub while_revalidate: u64,
    /// How long after that it may still be given when asking fails.
    pub if_error: u64,
}

/// What a route allows beyond the response's own words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grants {
    /// Stale, while it is asked for again, in seconds, where the response does not say.
    pub while_revalidate: u64,
    /// Stale, when asking fails, in seconds, where the response does not say.
    pub if_error: u64,
    /// Whether the request carried a credential (RFC 9111 section 3.5).
    pub is_authenticated: bool,
}

/// Whether a shared cache may keep a response to GET, and for how long (RFC 9111 sections 3 and 4.2).
///
/// Stricter than the standard where a slip would show one caller's response to another: nothing without explicit freshness or
/// a validator, nothing with `Set-Cookie`, nothing that varies by everything. `delay` is from the request to the response, in
/// seconds.
pub fn freshness(status: StatusCode, headers: &HeaderMap, grants: Grants, now: UtcMicros, delay: u64) -> Option<Freshness> {
    let said = Directives::read(headers);
    let is_final = matches!(status.as_u16(), 200 | 203 | 300 | 301 | 302 | 307 | 308 | 404 | 410);
    let is_for_one = said.no_store || said.private || headers.contains_key(header::SET_COOKIE) || varies_by_all(headers);
    let may_be_shared = !grants.is_authenticated || said.public || said.s_maxage.is_some() || said.must_revalidate;
    if !is_final || is_for_one || !may_be_shared || headers.contains_key(header::CONTENT_RANGE) {
        return None;
    }
    let wall = u64::try_from(now.0 / 1_000_000).unwrap_or(0);
    let sent = date(headers.get(header::DATE)).unwrap_or(wall);
    let explicit = said.s_maxage.or(said.max_age).or_else(|| {
        // An Expires that is no date is in the past (RFC 9111 section 5.3).
        headers.get(header::EXPIRES).map(|value| date(Some(value)).unwrap_or(0).saturating_sub(sent))
    });
    let has_validator = headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
    let lifetime = match explicit {
        _ if said.no_cache => 0,
        Some(lifetime) => lifetime,
        None if has_validator && said.must_revalidate => 0,
        None => return None,
    };
    // RFC 9111 section 4.2.3.
    let apparent = wall.saturating_sub(sent);
    let told = headers.get(header::AGE).and_then(|value| value.to_str().ok()).map_or(0, |text| seconds(text.trim()));
    let age = apparent.max(told.saturating_add(delay));
    let (while_revalidate, if_error) = stale_windows(&said, grants);
    if lifetime <= age && !has_validator && while_revalidate == 0 && if_error == 0 {
        return None;
    }
    Some(Freshness { age, lifetime, while_revalidate, if_error })
}

/// `must-revalidate` and its kin forbid stale responses (RFC 9111 section 4.2.4). `s-maxage` does so too, unless the response
/// itself names a window: then it has said what it wants.
fn stale_windows(said: &Directives, grants: Grants) -> (u64, u64) {
    if said.must_revalidate || said.proxy_revalidate || said.no_cache {
        return (0, 0);
    }
    let granted = |seconds: u64| if said.s_maxage.is_some() { 0 } else { seconds };
    (said.stale_while_revalidate.unwrap_or(granted(grants.while_revalidate)), said.stale_if_error.unwrap_or(granted(grants.if_error)))
}

/// The names in `Vary`.
pub fn vary(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let names = headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
}

/// True for `Vary: *`, and for a `Vary` that cannot be read.
fn varies_by_all(headers: &HeaderMap) -> bool {
    headers.get_all(header::VARY).iter().any(|value| {
        value.to_str().map_or(true, |text| {
            text.split(',').map(str::trim).any(|name| name == "*" || !name.is_empty() && HeaderName::from_bytes(name.as_bytes()).is_err())
        })
    })
}

#[cfg(test)]
mod tests;
