//! Compiles what a route says about WebSockets.

use std::time::Duration;

use http::Method;

use super::{Errors, filter};
use crate::{
    document::{OneOrMany, RouteDoc, UpstreamDoc},
    structure::{
        reach::ProtocolDoc,
        websocket::{Pages, WebSocketRules},
    },
    websocket::WebSocketDoc,
};

/// Open at once on a node: each holds two connections and their buffers.
const OPEN_MAX_DEFAULT: u32 = 1_000;
/// Long enough for the pings that libraries send, one each 20 to 60 s as a rule.
const IDLE_DEFAULT: Duration = Duration::from_mins(5);
const LIFETIME_DEFAULT: Duration = Duration::from_hours(24);
/// What is open for longer is not one session any more.
const LIFETIME_MAX: Duration = Duration::from_hours(24 * 31);
/// Looked at ten times a second; below, nobody could talk.
const IDLE_MIN: Duration = Duration::from_secs(1);

pub(super) fn compile(doc: &RouteDoc, at: &str, methods: &[Method], upstreams: &[UpstreamDoc], errors: &mut Errors) -> Option<Box<WebSocketRules>> {
    let rules = doc.websocket.as_ref()?;
    let at = format!("{at}.websocket");
    if !methods.is_empty() && !methods.contains(&Method::GET) {
        errors.add_with_help(&at, "a WebSocket begins with a GET, which the route does not take", Some("add GET to `match.methods`".to_owned()));
    }
    if doc.cache.is_some() {
        errors.add(&at, "a WebSocket has nothing that could be kept, and goes past no `cache`; make two routes");
    }
    let services =
        std::iter::once(&doc.upstream).chain(doc.split.iter().map(|split| &split.upstream)).chain(doc.canary.iter().map(|canary| &canary.upstream));
    for name in services {
        if upstreams.iter().any(|known| known.name == *name && known.protocol == Some(ProtocolDoc::Http2)) {
            errors.add_with_help(
                &at,
                format!("services get WebSockets over HTTP/1.1, and the upstream `{name}` is spoken to over HTTP/2 alone"),
                Some("give the upstream `protocol: auto`, or make another one with `http1`".to_owned()),
            );
        }
    }
    Some(Box::new(WebSocketRules {
        pages: rules.origins.as_ref().map_or(Pages::SameHost, |origins| pages(origins, &at, errors)),
        open_max: open_max(rules, &at, errors),
        idle: span(rules.idle.map(|span| span.0), IDLE_DEFAULT, "idle", &at, errors),
        lifetime: span(rules.lifetime.map(|span| span.0), LIFETIME_DEFAULT, "lifetime", &at, errors),
    }))
}

fn pages(origins: &OneOrMany<String>, at: &str, errors: &mut Errors) -> Pages {
    Pages::Of(filter::origins(origins, at, "without `origins` only pages of the host itself may open a WebSocket", errors))
}

fn open_max(rules: &WebSocketDoc, at: &str, errors: &mut Errors) -> usize {
    let open_max = rules.max.unwrap_or(OPEN_MAX_DEFAULT);
    if open_max == 0 {
        errors.add(format!("{at}.max"), "0 would refuse every WebSocket; leave `websocket` out for that");
    }
    usize::try_from(open_max).unwrap_or(usize::MAX)
}

fn span(written: Option<Duration>, default: Duration, name: &str, at: &str, errors: &mut Errors) -> Duration {
    let span = written.unwrap_or(default);
    if !(IDLE_MIN..=LIFETIME_MAX).contains(&span) {
        errors.add(format!("{at}.{name}"), "write a duration from 1s to 31d");
    }
    span
}

#[cfg(test)]
mod tests;
