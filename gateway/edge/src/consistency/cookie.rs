//! The token of browsers: in a cookie, where the route lets it (RFC 6265).
//!
//! Pages without scripts of their own cannot send a field. The cookie says no more than the field does, to no other host, and to no script.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

/// `__Host-`: of this host alone, over TLS alone (draft-ietf-httpbis-rfc6265bis section 4.1.3.2).
const NAME: &str = "__Host-causeway-consistency";
/// As [`field`], for a browser that is to forget it.
pub(crate) const CLEARED: HeaderValue = HeaderValue::from_static("__Host-causeway-consistency=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0");

/// Takes the token out of the cookies of a request; no service gets it.
pub(super) fn take(headers: &mut HeaderMap) -> Option<Box<[u8]>> {
    let is_there = |value: &HeaderValue| value.as_bytes().windows(NAME.len()).any(|bytes| bytes == NAME.as_bytes());
    if !headers.get_all(header::COOKIE).iter().any(is_there) {
        return None;
    }
    let mut found = None;
    let mut kept: Vec<HeaderValue> = Vec::new();
    for field in headers.get_all(header::COOKIE) {
        let mut rest: Vec<&[u8]> = Vec::new();
        for pair in field.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()) {
            match pair.strip_prefix(NAME.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
                // Two of them say nothing: no browser sends them.
                Some(value) => found = Some(if found.is_some() { Box::default() } else { value.into() }),
                None => rest.push(pair),
            }
        }
        if !rest.is_empty() {
            kept.extend(HeaderValue::from_bytes(&rest.join(&b"; "[..])).ok());
        }
    }
    headers.remove(header::COOKIE);
    headers.extend(kept.into_iter().map(|value| (header::COOKIE, value)));
    found
}

/// `Set-Cookie` with a token; the browser forgets it when it is closed.
pub(super) fn field(token: &str) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from(format!("{NAME}={token}; Path=/; Secure; HttpOnly; SameSite=Lax"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_taken_out_and_all_other_cookies_stay() {
        for (fields, token, left) in [
            (&["a=1; __Host-causeway-consistency=abc; b=2"][..], Some("abc"), &["a=1; b=2"][..]),
            (&["a=1", "__Host-causeway-consistency=abc", "b=2"], Some("abc"), &["a=1", "b=2"]),
            (&["__Host-causeway-consistency=abc"], Some("abc"), &[]),
            (&["__Host-causeway-consistency="], Some(""), &[]),
            (&["__Host-causeway-consistency=a; __Host-causeway-consistency=b"], Some(""), &[]),
            (&["x__Host-causeway-consistency=a;b"], None, &["x__Host-causeway-consistency=a; b"]),
            (&["__Host-causeway-consistency2=a"], None, &["__Host-causeway-consistency2=a"]),
            (&["a=__Host"], None, &["a=__Host"]),
            (&[], None, &[]),
        ] {
            let mut headers: HeaderMap = fields.iter().map(|text| (header::COOKIE, HeaderValue::from_static(text))).collect();
            assert_eq!(take(&mut headers).as_deref(), token.map(str::as_bytes), "{fields:?}");
            assert_eq!(headers.get_all(header::COOKIE).iter().collect::<Vec<_>>(), left, "{fields:?}");
        }
    }
}
