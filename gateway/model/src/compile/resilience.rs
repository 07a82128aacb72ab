//! Compiles how endpoints are chosen, watched and spared, and where requests go besides a route's own service.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};

use super::{Errors, route::Context};
use crate::{
    document::{RouteDoc, UpstreamDoc},
    duration::Span,
    grpc::Code,
    resilience::{BalanceDoc, BreakerDoc, CheckDoc, HashDoc, HealthDoc, InFlightDoc, OutliersDoc, RetriesDoc, RetryFailureDoc, RetryOnDoc},
    structure::{
        Upstream,
        reach::ProtocolDoc,
        resilience::{
            Balance, BreakerRule, Canary, Diversions, HashOn, HealthCheck, InFlight, Outliers, Resilience, Retries, RetryBudget, Share, SuccessRule,
        },
    },
};

/// Tries after the first at most: the failure of several endpoints should be told to the client, not hidden by more waiting.
const RETRIES_MAX: u32 = 5;
/// Below this, checks and look-ups of many endpoints would be a load of their own.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Names of services are some words with dots; more would not fit into the shortest form of the question.
const SERVICE_BYTES_MAX: usize = 100;
/// Requests that may wait for an endpoint: more would be memory for requests whose clients have gone.
const QUEUE_MAX: u32 = 10_000;

pub(super) fn upstream(doc: &UpstreamDoc, at: &str, errors: &mut Errors) -> Resilience {
    if doc.panic_percent > 100 {
        errors.add(format!("{at}.panic_percent"), "a share is at most 100 percent");
    }
    at_least(doc.resolve_every, INTERVAL_MIN, || format!("{at}.resolve_every"), errors);
    if doc.retry_budget.percent > 100 {
        errors
            .add(format!("{at}.retry_budget.percent"), "more retries than requests would double the load of a service that fails; write at most 100");
    }
    Resilience {
        balance: balance(&doc.balance, at, errors),
        in_flight: doc.in_flight.map(|doc| in_flight(doc, at, errors)),
        slow_start_nanos: doc.slow_start.map_or(0, nanos),
        check: doc.health.as_ref().map(|health| Arc::new(check(health, doc, at, errors))),
        outliers: outliers(doc.outliers, at, errors),
        panic_percent: doc.panic_percent,
        breaker: doc.breaker.map(|doc| breaker(doc, at, errors)),
        budget: RetryBudget { percent: u32::from(doc.retry_budget.percent), per_second: doc.retry_budget.per_second.min(1_000_000) },
        resolve_every: doc.resolve_every.0,
    }
}

fn balance(doc: &BalanceDoc, at: &str, errors: &mut Errors) -> Balance {
    match doc {
        BalanceDoc::P2c => Balance::P2c,
        BalanceDoc::RoundRobin => Balance::RoundRobin,
        BalanceDoc::LeastRequests => Balance::LeastRequests,
        BalanceDoc::Hash(HashDoc::Address) => Balance::Hash(HashOn::Address),
        BalanceDoc::Hash(HashDoc::Path) => Balance::Hash(HashOn::Path),
        BalanceDoc::Hash(HashDoc::Header(name)) => {
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                Balance::Hash(HashOn::Header(name))
            } else {
                errors.add(format!("{at}.balance.hash.header"), format!("`{name}` is not a header name"));
                Balance::P2c
            }
        }
        BalanceDoc::Hash(HashDoc::Cookie(name)) => {
            // RFC 6265 section 4.1.1: a cookie's name is a token.
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                errors.add(format!("{at}.balance.hash.cookie"), format!("`{name}` is not a cookie name"));
            }
            Balance::Hash(HashOn::Cookie(name.as_str().into()))
        }
    }
}

fn in_flight(doc: InFlightDoc, at: &str, errors: &mut Errors) -> InFlight {
    if doc.max == 0 {
        errors.add(format!("{at}.in_flight.max"), "a cap of 0 would refuse everything; leave `in_flight` out or write at least 1");
    }
    if doc.queue > QUEUE_MAX {
        errors.add(format!("{at}.in_flight.queue"), format!("at most {QUEUE_MAX} requests wait: a long queue serves clients that have gone"));
    }
    if doc.wait.0 > Duration::from_secs(10) {
        errors.add(format!("{at}.in_flight.wait"), "a queue that fails fast waits at most 10s");
    }
    let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    // A semaphore holds less than a usize of permits; a million requests at one endpoint are none any more.
    InFlight { max: size(doc.max.min(1 << 20)), queue: size(doc.queue), wait: doc.wait.0 }
}

fn check(doc: &HealthDoc, upstream: &UpstreamDoc, at: &str, errors: &mut Errors) -> HealthCheck {
    let at = format!("{at}.health");
    check_of_grpc(doc, upstream, &at, errors);
    if !doc.path.starts_with('/') || doc.path.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
        errors.add(format!("{at}.path"), format!("`{}` is not a path: it starts with a slash and has no spaces", doc.path));
    }
    if doc.host.as_ref().is_some_and(|host| host.is_empty() || HeaderValue::from_str(host).is_err() || host.contains(' ')) {
        errors.add(format!("{at}.host"), "this is not a host name");
    }
    for (position, status) in doc.statuses.iter().enumerate() {
        if !(200..=599).contains(status) {
            errors.add(format!("{at}.statuses[{position}]"), format!("{status} is not the status of a whole answer; write 200 to 599"));
        }
    }
    at_least(doc.interval, INTERVAL_MIN, || format!("{at}.interval"), errors);
    at_least(doc.timeout, Duration::from_millis(1), || format!("{at}.timeout"), errors);
    for (name, count) in [("healthy", doc.healthy), ("unhealthy", doc.unhealthy)] {
        if count == 0 {
            errors.add(format!("{at}.{name}"), "write at least 1");
        }
    }
    HealthCheck {
        by: doc.check,
        service: doc.service.as_deref().unwrap_or_default().into(),
        path: doc.path.as_str().into(),
        host: doc.host.as_deref().map(Into::into),
        statuses: doc.statuses.as_slice().into(),
        interval: doc.interval.0,
        timeout: doc.timeout.0,
        healthy: doc.healthy,
        unhealthy: doc.unhealthy,
    }
}

/// What belongs to checks by gRPC alone, and what they need.
fn check_of_grpc(doc: &HealthDoc, upstream: &UpstreamDoc, at: &str, errors: &mut Errors) {
    let is_grpc = doc.check == CheckDoc::Grpc;
    if !is_grpc && doc.service.is_some() {
        errors.add(format!("{at}.service"), "only `check: grpc` asks about a service; remove it");
    }
    if is_grpc && !doc.statuses.is_empty() {
        errors.add(format!("{at}.statuses"), "`check: grpc` is answered with SERVING and not with a status; remove it");
    }
    if doc.service.as_ref().is_some_and(|service| service.len() > SERVICE_BYTES_MAX) {
        errors.add(format!("{at}.service"), format!("the name of a service has at most {SERVICE_BYTES_MAX} bytes"));
    }
    let targets = upstream.regions.values().flat_map(|region| &region.targets);
    let may_be_http1 = match upstream.protocol {
        Some(ProtocolDoc::Http2 | ProtocolDoc::Auto) => false,
        Some(ProtocolDoc::Http1) => true,
        None => targets.into_iter().any(|target| !target.starts_with("https:")),
    };
    if is_grpc && may_be_http1 {
        errors.add(format!("{at}.check"), "gRPC needs HTTP/2; write `protocol: http2` for this service");
    }
}

fn outliers(doc: OutliersDoc, at: &str, errors: &mut Errors) -> Outliers {
    let at = format!("{at}.outliers");
    at_least(doc.rest, Duration::from_millis(1), || format!("{at}.rest"), errors);
    if doc.rest_max < doc.rest {
        errors.add(format!("{at}.rest_max"), "the longest rest is shorter than the first");
    }
    Outliers {
        gateway_failures: doc.gateway_failures,
        server_errors: doc.server_errors,
        success: success(doc.success_percent, doc.requests, doc.window, &at, errors),
        rest_nanos: nanos(doc.rest),
        rest_nanos_max: nanos(doc.rest_max),
    }
}

fn success(percent: u8, requests: u32, window: Span, at: &str, errors: &mut Errors) -> SuccessRule {
    if percent > 100 {
        errors.add(format!("{at}.success_percent"), "a share is at most 100 percent");
    }
    if requests == 0 {
        errors.add(format!("{at}.requests"), "write at least 1: a share of nothing says nothing");
    }
    at_least(window, INTERVAL_MIN, || format!("{at}.window"), errors);
    SuccessRule { percent, requests, window_nanos: nanos(window) }
}

fn breaker(doc: BreakerDoc, at: &str, errors: &mut Errors) -> BreakerRule {
    let at = format!("{at}.breaker");
    if doc.failures == 0 && doc.success_percent == 0 {
        errors.add(&at, "a breaker needs `failures` or `success_percent`; leave it out for none");
    }
    if doc.trials == 0 {
        errors.add(format!("{at}.trials"), "write at least 1");
    }
    at_least(doc.open, Duration::from_millis(1), || format!("{at}.open"), errors);
    BreakerRule {
        failures: doc.failures,
        success: success(doc.success_percent, doc.requests, doc.window, &at, errors),
        open_nanos: nanos(doc.open),
        trials: doc.trials,
    }
}

pub(super) fn retries(doc: &RetriesDoc, at: &str, errors: &mut Errors) -> Retries {
    let at = format!("{at}.retries");
    if doc.max > RETRIES_MAX {
        errors.add(format!("{at}.max"), format!("a request is tried again at most {RETRIES_MAX} times"));
    }
    let mut out = Retries {
        max: doc.max,
        on_reset: false,
        on_timeout: false,
        statuses: Box::default(),
        grpc: Box::default(),
        per_try: doc.per_try.map(|span| span.0),
        backoff: doc.backoff.0,
    };
    let (mut statuses, mut grpc) = (Vec::new(), Vec::new());
    for (position, on) in doc.on.iter().enumerate() {
        match on {
            RetryOnDoc::Failure(RetryFailureDoc::Reset) => out.on_reset = true,
            RetryOnDoc::Failure(RetryFailureDoc::Timeout) => out.on_timeout = true,
            RetryOnDoc::Failure(RetryFailureDoc::GrpcCancelled) => grpc.push(Code::Cancelled),
            RetryOnDoc::Failure(RetryFailureDoc::GrpcUnknown) => grpc.push(Code::Unknown),
            RetryOnDoc::Failure(RetryFailureDoc::GrpcDeadlineExceeded) => grpc.push(Code::DeadlineExceeded),
            RetryOnDoc::Failure(RetryFailureDoc::GrpcResourceExhausted) => grpc.push(Code::ResourceExhausted),
            RetryOnDoc::Failure(RetryFailureDoc::GrpcAborted) => grpc.push(Code::Aborted),
            RetryOnDoc::Failure(RetryFailureDoc::GrpcInternal) => grpc.push(Code::Internal),
            RetryOnDoc::Failure(RetryFailureDoc::GrpcUnavailable) => grpc.push(Code::Unavailable),
            RetryOnDoc::Status(status) if (500..=599).contains(status) || *status == 429 => statuses.push(*status),
            RetryOnDoc::Status(status) => {
                errors.add(format!("{at}.on[{position}]"), format!("an answer {status} is final; write 429 or 500 to 599"));
            }
        }
    }
    (out.statuses, out.grpc) = (statuses.into(), grpc.into());
    if let Some(per_try) = doc.per_try {
        at_least(per_try, Duration::from_millis(1), || format!("{at}.per_try"), errors);
    }
    if doc.backoff.0 > Duration::from_secs(5) {
        errors.add(format!("{at}.backoff"), "a client waits while a retry pauses; write at most 5s");
    }
    out
}

pub(super) fn diversions(doc: &RouteDoc, at: &str, context: &Context<'_>, errors: &mut Errors) -> Diversions {
    let mut find = |path: String, name: &str| -> Option<Arc<Upstream>> {
        let known = context.upstreams.get(name);
        if known.is_none() {
            errors.unknown(path, "upstream", name, context.upstreams.keys().map(|known| &**known));
        }
        known.cloned()
    };
    let canaries: Vec<_> = doc.canary.iter().enumerate().map(|(n, canary)| find(format!("{at}.canary[{n}].upstream"), &canary.upstream)).collect();
    let splits: Vec<_> = doc.split.iter().enumerate().map(|(n, split)| find(format!("{at}.split[{n}].upstream"), &split.upstream)).collect();
    let mirror = doc.mirror.as_ref().and_then(|mirror| find(format!("{at}.mirror.upstream"), &mirror.upstream));
    let mut out = Diversions::default();
    let mut made = Vec::new();
    for (n, (canary, upstream)) in doc.canary.iter().zip(canaries).enumerate() {
        let header = HeaderName::from_bytes(canary.header.as_bytes());
        let value = canary.value.as_deref().map(HeaderValue::from_str).transpose();
        match (header, value, upstream) {
            (Ok(header), Ok(value), Some(upstream)) => made.push(Canary { upstream, header, value }),
            (Err(_), _, _) => errors.add(format!("{at}.canary[{n}].header"), format!("`{}` is not a header name", canary.header)),
            (_, Err(_), _) => errors.add(format!("{at}.canary[{n}].value"), "this is not a header value"),
            (Ok(_), Ok(_), None) => {}
        }
    }
    out.canaries = made.into();
    let mut shares = Vec::new();
    for (n, (split, upstream)) in doc.split.iter().zip(splits).enumerate() {
        let share = share(split.percent, || format!("{at}.split[{n}].percent"), errors);
        shares.extend(upstream.map(|upstream| Share { upstream, of_ten_thousand: share }));
    }
    if shares.iter().map(|share| share.of_ten_thousand).sum::<u32>() > 10_000 {
        errors.add(format!("{at}.split"), "the shares are more than 100 percent together");
    }
    out.shares = shares.into();
    if let (Some(mirror), Some(upstream)) = (&doc.mirror, mirror) {
        let of_ten_thousand = share(mirror.percent, || format!("{at}.mirror.percent"), errors);
        out.mirror = Some(Share { upstream, of_ten_thousand });
    }
    out
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
fn share(percent: f64, path: impl FnOnce() -> String, errors: &mut Errors) -> u32 {
    if (0.0..=100.0).contains(&percent) {
        return (percent * 100.0).round() as u32;
    }
    errors.add(path(), format!("{percent} is not a share: write 0 to 100 percent"));
    0
}

fn at_least(span: Span, least: Duration, path: impl FnOnce() -> String, errors: &mut Errors) {
    if span.0 < least {
        errors.add(path(), format!("write at least {}ms", least.as_millis()));
    }
}

fn nanos(span: Span) -> u64 {
    u64::try_from(span.0.as_nanos()).unwrap_or(u64::MAX)
}
