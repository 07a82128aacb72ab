//! Compiles what a route does to messages on their way.

use http::{HeaderName, HeaderValue, Method};

use super::{Errors, cache, fields};
use crate::{
    document::{OneOrMany, RouteDoc, UpstreamDoc},
    filter::{CodingDoc, CompressionDoc, CorsDoc},
    origin::{OriginPattern, Origins},
    structure::{
        Reads,
        filter::{CORS_METHODS, Compression, Cors, Filters, UpstreamHost},
        identity::Auth,
    },
};

/// How long a browser keeps the answer to a preflight: what Chrome allows at most is 2 h, Firefox 24 h.
const MAX_AGE_SECONDS_DEFAULT: u64 = 600;
const MAX_AGE_SECONDS_MAX: u64 = 86_400;
/// Origins of one route: each is compared for each request that carries one.
const ORIGINS_MAX: usize = 64;

/// Media types that are compressed when a document names none: text that APIs and pages consist of.
const TYPES_DEFAULT: [&str; 14] = [
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/problem+json",
    "application/wasm",
    "application/xml",
    "image/svg+xml",
    "text/css",
    "text/csv",
    "text/html",
    "text/javascript",
    "text/plain",
    "text/xml",
];
/// Below, the frame of a coding and its time cost more than they save: one packet carries 1,400 bytes anyway.
const COMPRESS_BYTES_MIN_DEFAULT: u64 = 1_024;

/// What of a route its filters must fit.
pub(super) struct Context<'c> {
    pub(super) auth: &'c Auth,
    pub(super) methods: &'c [Method],
    pub(super) upstream: Option<&'c UpstreamDoc>,
    pub(super) reads: Reads,
    pub(super) get_writes: bool,
}

/// Compiles the parts that are off unless they are written; `None` when none of them is.
pub(super) fn compile(doc: &RouteDoc, at: &str, context: &Context<'_>, errors: &mut Errors) -> Option<Box<Filters>> {
    let (auth, methods) = (context.auth, context.methods);
    let headers = doc.headers.as_ref();
    let mut filters = Filters {
        cors: doc.cors.as_ref().and_then(|cors_doc| cors(cors_doc, &format!("{at}.cors"), auth, methods, errors)),
        request_fields: headers
            .and_then(|headers| headers.request.as_ref())
            .map(|rules| fields::compile(rules, &format!("{at}.headers.request"), fields::Direction::Request, auth, errors)),
        response_fields: headers
            .and_then(|headers| headers.response.as_ref())
            .map(|rules| fields::compile(rules, &format!("{at}.headers.response"), fields::Direction::Response, auth, errors)),
        compression: doc.compression.as_ref().map(|compression_doc| compression(compression_doc, &format!("{at}.compression"), errors)),
        cache: None,
    };
    if doc.cache.is_some() && auth.forwards() {
        // What it answers may rest on any claim: on scopes, on roles, on the client.
        errors.add(
            format!("{at}.cache"),
            "the service gets the token of the caller (`forward` of the issuer), so nothing that it answers can be kept for others",
        );
    }
    filters.cache = doc.cache.as_ref().map(|cache_doc| {
        let request_fields = filters.request_fields.as_ref();
        let (upstream, reads, get_writes) = (context.upstream, context.reads, context.get_writes);
        cache::compile(cache_doc, &format!("{at}.cache"), &cache::Context { doc, upstream, methods, reads, get_writes, request_fields }, errors)
    });
    if let (Some(_), Some(rules)) = (&filters.cors, &filters.response_fields) {
        let named = rules.set.iter().chain(&rules.add).map(|(name, _)| name).find(|name| name.as_str().starts_with("access-control-"));
        if let Some(name) = named {
            errors.add(format!("{at}.headers.response"), format!("`{name}` is set by the route's `cors`; write it in one of the two places"));
        }
    }
    (!filters.is_empty()).then(|| Box::new(filters))
}

/// Compiles what the `Host` field says to the service.
pub(super) fn upstream_host(text: Option<&str>, at: &str, errors: &mut Errors) -> UpstreamHost {
    match text {
        None | Some("target") => UpstreamHost::Target,
        Some("preserve") => UpstreamHost::Preserve,
        Some(name) => {
            let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
            let is_host = is_lower && crate::host::normalize(name).is_some() && !name.ends_with([':', '.']);
            if let Some(value) = HeaderValue::from_str(name).ok().filter(|_| is_host) {
                return UpstreamHost::Name(value);
            }
            errors.add(
                format!("{at}.upstream_host"),
                format!("`{name}` is not `target`, `preserve`, or a host name in lower case with or without a port"),
            );
            UpstreamHost::Target
        }
    }
}

fn cors(doc: &CorsDoc, at: &str, auth: &Auth, methods: &[Method], errors: &mut Errors) -> Option<Cors> {
    let before = errors.0.len();
    let origins = origins(&doc.origins, at, "without `cors` pages of other origins may not read responses", errors);
    if origins == Origins::Any && doc.credentials {
        errors.add_with_help(
            format!("{at}.credentials"),
            "credentials for every origin would let any page act as its visitor; browsers refuse it, too",
            Some("list the origins, or leave `credentials` out".to_owned()),
        );
    }
    let allowed = cors_methods(doc, at, methods, errors);
    let headers = cors_headers(doc, at, auth, errors);
    let expose = (!doc.expose.is_empty()).then(|| names(&doc.expose, &format!("{at}.expose"), doc.credentials, errors));
    let max_age = doc.max_age.map_or(MAX_AGE_SECONDS_DEFAULT, |span| span.0.as_secs());
    if max_age > MAX_AGE_SECONDS_MAX {
        errors.add(format!("{at}.max_age"), "browsers keep the answer to a preflight for 24h at most");
    }
    if errors.0.len() > before {
        return None;
    }
    Some(Cors { origins, methods: allowed, headers, expose, credentials: doc.credentials, max_age: HeaderValue::from(max_age) })
}

/// The origins of a list, or everybody's; `absent` says what would hold without the list.
pub(super) fn origins(written: &OneOrMany<String>, at: &str, absent: &str, errors: &mut Errors) -> Origins {
    let listed = written.as_slice();
    if listed.is_empty() || listed.len() > ORIGINS_MAX {
        errors.add(format!("{at}.origins"), format!("name 1 to {ORIGINS_MAX} origins; {absent}"));
    }
    if listed.iter().any(|origin| origin == "*") {
        if listed.len() > 1 {
            errors.add(format!("{at}.origins"), "`*` stands for all origins, so it stands alone");
        }
        return Origins::Any;
    }
    let mut patterns = Vec::with_capacity(listed.len());
    for (position, text) in listed.iter().enumerate() {
        match OriginPattern::parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => errors.add(place(written, &format!("{at}.origins"), position), format!("`{text}`: {error}")),
        }
    }
    Origins::Listed(patterns.into())
}

fn place<T>(values: &OneOrMany<T>, at: &str, position: usize) -> String {
    match values {
        OneOrMany::One(_) => at.to_owned(),
        OneOrMany::Many(_) => format!("{at}[{position}]"),
    }
}

fn cors_methods(doc: &CorsDoc, at: &str, routed: &[Method], errors: &mut Errors) -> HeaderValue {
    for (position, text) in doc.methods.iter().enumerate() {
        let method = Method::from_bytes(text.as_bytes()).ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_uppercase()));
        let path = format!("{at}.methods[{position}]");
        match method {
            None => errors.add(path, format!("`{text}` is not a method; write GET, POST, .. one by one")),
            Some(method) if !routed.is_empty() && !routed.contains(&method) => {
                errors.add_with_help(
                    path,
                    format!("the route does not take {method}"),
                    Some("add it to `match.methods`, or remove it here".to_owned()),
                );
            }
            Some(_) => {}
        }
    }
    let text = match (doc.methods.is_empty(), routed.is_empty()) {
        (false, _) => doc.methods.join(", "),
        (true, false) => join(routed),
        (true, true) => join(&CORS_METHODS),
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("GET"))
}

fn join(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

fn cors_headers(doc: &CorsDoc, at: &str, auth: &Auth, errors: &mut Errors) -> Option<HeaderValue> {
    match &doc.headers {
        // What a JSON client with a key needs. None of the three may be sent without leave.
        None if auth.is_none() => Some(HeaderValue::from_static("content-type")),
        None => Some(HeaderValue::from_static("authorization, content-type, x-api-key")),
        Some(listed) if listed.as_slice().iter().any(|name| name == "*") => {
            if listed.as_slice().len() > 1 {
                errors.add(format!("{at}.headers"), "`*` stands for all fields, so it stands alone");
            }
            None
        }
        Some(listed) => Some(names(listed.as_slice(), &format!("{at}.headers"), true, errors)),
    }
}

/// A list of field names as one value.
fn names(listed: &[String], at: &str, with_credentials: bool, errors: &mut Errors) -> HeaderValue {
    for (position, name) in listed.iter().enumerate() {
        if name == "*" && with_credentials {
            errors.add(format!("{at}[{position}]"), "with credentials `*` is no wildcard for browsers; name the fields");
        } else if HeaderName::from_bytes(name.as_bytes()).is_err() {
            errors.add(format!("{at}[{position}]"), format!("`{name}` is not a header name"));
        }
    }
    HeaderValue::from_str(&listed.join(", ").to_ascii_lowercase()).unwrap_or(HeaderValue::from_static("content-type"))
}

fn compression(doc: &CompressionDoc, at: &str, errors: &mut Errors) -> Compression {
    let types = match &doc.types {
        None => TYPES_DEFAULT.iter().map(|name| (*name).into()).collect(),
        Some(listed) => {
            if listed.is_empty() {
                errors.add(format!("{at}.types"), "an empty list compresses nothing; leave it out for common text formats");
            }
            listed.iter().enumerate().filter_map(|(position, text)| media_type(text, &format!("{at}.types[{position}]"), errors)).collect()
        }
    };
    let codings = doc.codings.clone().unwrap_or_else(|| vec![CodingDoc::Zstd, CodingDoc::Br, CodingDoc::Gzip]);
    let is_twice = codings.iter().enumerate().any(|(position, coding)| codings.iter().take(position).any(|other| other == coding));
    if codings.is_empty() || is_twice {
        errors.add(format!("{at}.codings"), "name each of `zstd`, `br`, `gzip` once at most, and at least one");
    }
    Compression { types, codings: codings.into(), bytes_min: doc.min.map_or(COMPRESS_BYTES_MIN_DEFAULT, |bytes| bytes.0) }
}

/// `type/subtype`, or `type/*`, which is kept as `type/`.
fn media_type(text: &str, at: &str, errors: &mut Errors) -> Option<Box<str>> {
    let lower = text.to_ascii_lowercase();
    let is_token = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte));
    let Some((family, subtype)) = lower.split_once('/').filter(|(family, subtype)| is_token(family) && (*subtype == "*" || is_token(subtype))) else {
        errors.add(at, format!("`{text}` is not a media type; write `application/json` or `text/*`, without parameters"));
        return None;
    };
    if lower.starts_with("application/grpc") {
        errors.add(at, "gRPC compresses its own messages (grpc-encoding) and takes no content coding; remove it");
        return None;
    }
    Some(if subtype == "*" { format!("{family}/").into() } else { lower.into() })
}

#[cfg(test)]
mod tests;
