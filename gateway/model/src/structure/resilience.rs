//! The compiled form of [`crate::resilience`]: checked, with names resolved and times in nanoseconds where they are compared.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};

use super::Upstream;
use crate::{grpc::Code, resilience::CheckDoc};

/// How a service's endpoints are chosen, watched and spared.
#[derive(Debug)]
pub struct Resilience {
    /// Which endpoint takes the next request.
    pub balance: Balance,
    /// The cap on requests in flight to one endpoint.
    pub in_flight: Option<InFlight>,
    /// How long an endpoint that comes new or back takes to get its full share, in nanoseconds; 0 for at once.
    pub slow_start_nanos: u64,
    /// How endpoints are asked whether they are well.
    pub check: Option<Arc<HealthCheck>>,
    /// When an endpoint that fails rests.
    pub outliers: Outliers,
    /// Below this share of usable endpoints all of them are tried.
    pub panic_percent: u8,
    /// When the whole service is left alone.
    pub breaker: Option<BreakerRule>,
    /// How many retries the service gets.
    pub budget: RetryBudget,
    /// How often names are looked up.
    pub resolve_every: Duration,
}

/// Which endpoint takes the next request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// The better of two that are drawn, by requests in flight and peak-EWMA of the latency.
    P2c,
    /// One after the other.
    RoundRobin,
    /// The one with the fewest requests in flight.
    LeastRequests,
    /// The same one for the same value.
    Hash(HashOn),
}

/// Which value of a request is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOn {
    /// A header.
    Header(HeaderName),
    /// A cookie.
    Cookie(Box<str>),
    /// The client's address.
    Address,
    /// The path.
    Path,
}

/// The cap on requests in flight to one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// Requests at once.
    pub max: usize,
    /// Requests that wait.
    pub queue: usize,
    /// How long they wait.
    pub wait: Duration,
}

/// How endpoints are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// By what.
    pub by: CheckDoc,
    /// The service that gRPC is asked about.
    pub service: Box<str>,
    /// The path of the question.
    pub path: Box<str>,
    /// The `Host` of the question; the target's own when absent.
    pub host: Option<Box<str>>,
    /// Statuses that mean well; 200 to 299 when empty.
    pub statuses: Box<[u16]>,
    /// Between two questions.
    pub interval: Duration,
    /// For connecting and the answer.
    pub timeout: Duration,
    /// Good answers in a row that bring an endpoint back.
    pub healthy: u32,
    /// Bad answers in a row that take it out.
    pub unhealthy: u32,
}

/// When an endpoint that fails rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outliers {
    /// Gateway failures in a row; 0 for never.
    pub gateway_failures: u32,
    /// Answers 500 to 599 and failures in a row; 0 for never.
    pub server_errors: u32,
    /// What share of good answers is needed.
    pub success: SuccessRule,
    /// The first rest.
    pub rest_nanos: u64,
    /// The longest rest.
    pub rest_nanos_max: u64,
}

/// What share of good answers is needed in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuccessRule {
    /// In percent; 0 for any.
    pub percent: u8,
    /// Requests without which the share says nothing.
    pub requests: u32,
    /// Length of the window.
    pub window_nanos: u64,
}

/// When a whole service in a region is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRule {
    /// Failures in a row; 0 for never.
    pub failures: u32,
    /// What share of good answers is needed.
    pub success: SuccessRule,
    /// How long it stays open.
    pub open_nanos: u64,
    /// Requests that must go well to close it.
    pub trials: u32,
}

/// How many retries a service gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// Retries for a hundred requests.
    pub percent: u32,
    /// Retries a second that are always allowed.
    pub per_second: u32,
}

/// When a route's requests are tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// Tries after the first.
    pub max: u32,
    /// After a connection that ended before a byte of the answer.
    pub on_reset: bool,
    /// After a deadline.
    pub on_timeout: bool,
    /// After these statuses.
    pub statuses: Box<[u16]>,
    /// After these statuses of gRPC. The route says with them that its calls may be sent twice.
    pub grpc: Box<[Code]>,
    /// For one try.
    pub per_try: Option<Duration>,
    /// The longest pause before the first retry of something that was sent.
    pub backoff: Duration,
}

impl Retries {
    /// True when something that was sent may be tried again, so that a copy must be kept.
    pub fn wants_copy(&self) -> bool {
        self.max > 0 && (self.on_reset || self.on_timeout || !self.statuses.is_empty() || !self.grpc.is_empty())
    }
}

/// Where a route's requests go besides its own service.
#[derive(Debug, Default)]
pub struct Diversions {
    /// Services that take requests because of a header; the first that matches.
    pub canaries: Box<[Canary]>,
    /// Services that take a share.
    pub shares: Box<[Share]>,
    /// A service that gets copies.
    pub mirror: Option<Share>,
}

impl Diversions {
    /// Every service that takes requests beside the route's own, or copies of them.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let canaries = self.canaries.iter().map(|canary| &canary.upstream);
        canaries.chain(self.shares.iter().chain(&self.mirror).map(|share| &share.upstream))
    }
}

/// Requests that another service takes because of a header.
#[derive(Debug)]
pub struct Canary {
    /// The service.
    pub upstream: Arc<Upstream>,
    /// The header.
    pub header: HeaderName,
    /// The value that it must have; any when absent.
    pub value: Option<HeaderValue>,
}

/// A share of requests.
#[derive(Debug)]
pub struct Share {
    /// The service.
    pub upstream: Arc<Upstream>,
    /// Of ten thousand requests.
    pub of_ten_thousand: u32,
}
