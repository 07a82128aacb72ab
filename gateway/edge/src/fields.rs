//! Header fields that do not travel: hop-by-hop ones, and those that only the gateway may set.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Fields that the gateway alone may set towards services, without the `causeway-` family.
const RESERVED: [HeaderName; 8] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("client-cert"),
    HeaderName::from_static("client-cert-chain"),
    HeaderName::from_static("consistency-require"),
];

/// Fields with a meaning of their own for the gateway: look-alikes of these do not travel.
const ALSO_RESERVED: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-request-id"),
];

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// True for fields that belong to one connection only (RFC 9110 section 7.6.1), and for what else no response carries on.
pub fn is_the_connections(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "upgrade" | "transfer-encoding" | "proxy-authenticate" | "proxy-authorization" | "te"
    )
}

/// True for the family that only the gateway may set.
pub fn is_the_gateways(name: &HeaderName) -> bool {
    name.as_str().starts_with("causeway-")
}

/// Fields that decide framing or routing cannot be named in `Connection` (RFC 9110 section 7.6.1, last paragraph).
pub fn can_be_named_away(name: &HeaderName) -> bool {
    !matches!(*name, header::CONTENT_LENGTH | header::HOST | header::AUTHORIZATION | header::CACHE_CONTROL)
}

/// True for every name that [`strip_untrusted`] may remove, and few others. Byte strings, because the compiler turns those into a
/// tree of lengths and bytes.
fn is_suspect(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    match name {
        b"connection"
        | b"keep-alive"
        | b"proxy-connection"
        | b"upgrade"
        | b"transfer-encoding"
        | b"proxy-authenticate"
        | b"proxy-authorization"
        | b"te"
        | b"forwarded"
        | b"x-forwarded-for"
        | b"x-forwarded-proto"
        | b"x-forwarded-host"
        | b"x-real-ip"
        | b"client-cert"
        | b"client-cert-chain"
        | b"consistency-require" => true,
        _ => name.starts_with(b"causeway-") || name.contains(&b'_'),
    }
}

/// Removes what a client may not say: hop-by-hop fields (RFC 9110 section 7.6.1) and identity fields.
pub fn strip_untrusted(headers: &mut HeaderMap) {
    // Most requests have none of them: one look at each name is cheaper than twenty searches.
    if !headers.keys().any(is_suspect) {
        return;
    }
    strip_hop_by_hop(headers);
    for name in &RESERVED {
        headers.remove(name);
    }
    strip_prefix(headers, "causeway-");
    strip_look_alikes(headers);
}

/// Removes fields that become a reserved or framing field when `_` is read as `-`: CGI, WSGI and many frameworks do that.
fn strip_look_alikes(headers: &mut HeaderMap) {
    if !headers.keys().any(|name| name.as_str().contains('_')) {
        return;
    }
    let is_look_alike = |name: &HeaderName| {
        let read = name.as_str().replace('_', "-");
        name.as_str().contains('_')
            && (read.starts_with("causeway-") || RESERVED.iter().chain(&ALSO_RESERVED).any(|reserved| reserved.as_str() == read))
    };
    let found: Vec<HeaderName> = headers.keys().filter(|name| is_look_alike(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Removes what belongs to one connection only (RFC 9110 section 7.6.1).
///
/// `Transfer-Encoding` goes as well: each side frames its own messages. `TE: trailers` stays, because gRPC needs it.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            .filter(can_be_named_away)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    for name in
        [&KEEP_ALIVE, &PROXY_CONNECTION, &header::UPGRADE, &header::TRANSFER_ENCODING, &header::PROXY_AUTHENTICATE, &header::PROXY_AUTHORIZATION]
    {
        headers.remove(name);
    }
    if let Some(te) = headers.get(header::TE) {
        if te.as_bytes().eq_ignore_ascii_case(b"trailers") {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        } else {
            headers.remove(header::TE);
        }
    }
}

/// Removes from a response what belongs to one connection, and what only the gateway may say.
pub fn strip_from_response(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    strip_prefix(headers, "causeway-");
    headers.remove(header::TE);
}

/// Removes every field of a family.
pub fn strip_prefix(headers: &mut HeaderMap, prefix: &str) {
    // Most requests have none: look before collecting.
    if !headers.keys().any(|name| name.as_str().starts_with(prefix)) {
        return;
    }
    let family: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(prefix)).cloned().collect();
    for name in family {
        headers.remove(name);
    }
}

/// A value that no other message has: over HTTP/2 it is never indexed (RFC 7541 section 6.2.3). Both sides would keep it in their
/// tables, where it pushes out what comes again, and the codec compares each new one with all that it keeps of the same name.
pub fn unrepeated(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Adds a field's name to `Vary` (RFC 9110 section 12.5.5), once.
pub fn vary(headers: &mut HeaderMap, name: &'static str) {
    let listed = headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    if listed.map(str::trim).any(|listed| listed == "*" || listed.eq_ignore_ascii_case(name)) {
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static(name));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_that_no_other_message_has_is_kept_out_of_the_tables_of_http2() {
        assert!(unrepeated("0198f6f2-7b1c").is_some_and(|value| value.is_sensitive()));
        assert_eq!(unrepeated("a\r\nb"), None);
    }
}
