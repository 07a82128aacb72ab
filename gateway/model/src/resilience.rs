//! How requests are spread over a service's endpoints and what happens when they fail, as an operator writes it.
//!
//! Every default here is a decision: docs/adr/0013 says why.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration::Span;

const fn span(duration: Duration) -> Span {
    Span(duration)
}

/// Which endpoint takes the next request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BalanceDoc {
    /// The better of two that are drawn: fewer requests in flight times a lower latency (peak-EWMA).
    #[default]
    P2c,
    /// One after the other.
    RoundRobin,
    /// The one with the fewest requests in flight.
    LeastRequests,
    /// Always the same one for the same value.
    Hash(HashDoc),
}

/// Which value of a request is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashDoc {
    /// A header.
    Header(String),
    /// A cookie.
    Cookie(String),
    /// The client's address.
    Address,
    /// The path, without the query.
    Path,
}

/// The cap on requests in flight to one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InFlightDoc {
    /// Requests that one endpoint of the service gets at once from a node.
    pub max: u32,
    /// Requests that wait when every endpoint is at its cap.
    #[serde(default = "InFlightDoc::queue_default")]
    pub queue: u32,
    /// How long they wait.
    #[serde(default = "InFlightDoc::wait_default")]
    pub wait: Span,
}

impl InFlightDoc {
    const fn queue_default() -> u32 {
        64
    }

    const fn wait_default() -> Span {
        span(Duration::from_millis(100))
    }
}

/// How endpoints are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthDoc {
    /// By what.
    #[serde(default)]
    pub check: CheckDoc,
    /// The service that `grpc` asks about; the server as a whole when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The path that `http` asks for.
    #[serde(default = "HealthDoc::path_default")]
    pub path: String,
    /// The `Host` of the question; the target's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Statuses that mean well; 200 to 299 when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<u16>,
    /// Between two questions, with a tenth of it drawn at random.
    #[serde(default = "HealthDoc::interval_default")]
    pub interval: Span,
    /// For connecting and the answer together.
    #[serde(default = "HealthDoc::timeout_default")]
    pub timeout: Span,
    /// Good answers in a row that bring an endpoint back.
    #[serde(default = "HealthDoc::healthy_default")]
    pub healthy: u32,
    /// Bad answers in a row that take it out.
    #[serde(default = "HealthDoc::unhealthy_default")]
    pub unhealthy: u32,
}

impl HealthDoc {
    fn path_default() -> String {
        "/".to_owned()
    }

    const fn interval_default() -> Span {
        span(Duration::from_secs(5))
    }

    const fn timeout_default() -> Span {
        span(Duration::from_secs(1))
    }

    const fn healthy_default() -> u32 {
        2
    }

    const fn unhealthy_default() -> u32 {
        3
    }
}

/// By what an endpoint is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckDoc {
    /// `GET` and a status.
    #[default]
    Http,
    /// A connection that opens.
    Tcp,
    /// `grpc.health.v1.Health/Check`.
    Grpc,
}

/// When an endpoint that fails rests for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutliersDoc {
    /// Failures in a row to connect, to answer in time or with HTTP, and answers 502, 503, 504; 0 for never.
    pub gateway_failures: u32,
    /// Answers 500 to 599 and failures in a row; 0 for never.
    pub server_errors: u32,
    /// The share of good answers in a window that an endpoint needs, in percent; 0 for never.
    pub success_percent: u8,
    /// Requests in a window without which the share says nothing.
    pub requests: u32,
    /// Length of the window.
    pub window: Span,
    /// The first rest; it doubles each time.
    pub rest: Span,
    /// The longest rest.
    pub rest_max: Span,
}

impl Default for OutliersDoc {
    fn default() -> Self {
        Self {
            gateway_failures: 3,
            server_errors: 5,
            success_percent: 0,
            requests: 100,
            window: span(Duration::from_secs(10)),
            rest: span(Duration::from_secs(1)),
            rest_max: span(Duration::from_secs(30)),
        }
    }
}

/// When a whole service in a region is left alone for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerDoc {
    /// Failures in a row; 0 for never.
    #[serde(default)]
    pub failures: u32,
    /// The share of good answers in a window that the service needs, in percent; 0 for never.
    #[serde(default)]
    pub success_percent: u8,
    /// Requests in a window, for each core, without which the share says nothing.
    #[serde(default = "BreakerDoc::requests_default")]
    pub requests: u32,
    /// Length of the window.
    #[serde(default = "BreakerDoc::window_default")]
    pub window: Span,
    /// How long it stays open before it is tried again.
    #[serde(default = "BreakerDoc::open_default")]
    pub open: Span,
    /// Requests that must go well to close it.
    #[serde(default = "BreakerDoc::trials_default")]
    pub trials: u32,
}

impl BreakerDoc {
    const fn requests_default() -> u32 {
        50
    }

    const fn window_default() -> Span {
        span(Duration::from_secs(10))
    }

    const fn open_default() -> Span {
        span(Duration::from_secs(5))
    }

    const fn trials_default() -> u32 {
        3
    }
}

/// How many retries a service gets, as a share of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetDoc {
    /// Retries for a hundred requests of the last ten seconds.
    pub percent: u8,
    /// Retries a second that are always allowed, for each core.
    pub per_second: u32,
}

impl Default for BudgetDoc {
    fn default() -> Self {
        Self { percent: 20, per_second: 3 }
    }
}

/// When a request is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetriesDoc {
    /// Tries after the first.
    pub max: u32,
    /// After what, besides a connection that could not be made: only for idempotent methods whose body is at hand.
    pub on: Vec<RetryOnDoc>,
    /// For one try, when the body is at hand; the service's own deadlines hold besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_try: Option<Span>,
    /// The longest pause before the first retry of something that was sent; it doubles each time, and is drawn at random.
    pub backoff: Span,
}

impl Default for RetriesDoc {
    fn default() -> Self {
        Self { max: 2, on: Vec::new(), per_try: None, backoff: span(Duration::from_millis(25)) }
    }
}

/// After what a request is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a status as a number (429, or 500 to 599), `reset`, `timeout` or one of gRPC's such as `grpc_unavailable`")]
pub enum RetryOnDoc {
    /// A status of the service: 500 to 599, or 429.
    Status(u16),
    /// A failure.
    Failure(RetryFailureDoc),
}

/// A failure after which a request is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryFailureDoc {
    /// The connection ended before a byte of the answer.
    Reset,
    /// The answer did not come in time.
    Timeout,
    /// A call of gRPC was answered `cancelled` before any message.
    GrpcCancelled,
    /// The same for `unknown`.
    GrpcUnknown,
    /// The same for `deadline_exceeded`.
    GrpcDeadlineExceeded,
    /// The same for `resource_exhausted`.
    GrpcResourceExhausted,
    /// The same for `aborted`.
    GrpcAborted,
    /// The same for `internal`.
    GrpcInternal,
    /// The same for `unavailable`.
    GrpcUnavailable,
}

/// A share of a route's requests that another service takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitDoc {
    /// The service.
    pub upstream: String,
    /// Of a hundred requests; two decimals count.
    pub percent: f64,
}

/// Requests that another service takes because of a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryDoc {
    /// The service.
    pub upstream: String,
    /// The header.
    pub header: String,
    /// The value that it must have; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Copies of requests that another service gets as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorDoc {
    /// The service.
    pub upstream: String,
    /// Of a hundred requests; two decimals count.
    #[serde(default = "MirrorDoc::percent_default")]
    pub percent: f64,
}

impl MirrorDoc {
    const fn percent_default() -> f64 {
        100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_retry_may_be_on_is_said_where_something_else_stands() {
        assert_eq!(serde_json::from_str::<RetryOnDoc>("503").unwrap(), RetryOnDoc::Status(503));
        assert_eq!(serde_json::from_str::<RetryOnDoc>("\"reset\"").unwrap(), RetryOnDoc::Failure(RetryFailureDoc::Reset));
        for wrong in ["\"503\"", "\"rest\"", "-1", "[503]", "null"] {
            let told = serde_json::from_str::<RetryOnDoc>(wrong).unwrap_err().to_string();
            assert!(told.contains("a status as a number") && told.contains("`reset`"), "{wrong}: {told}");
        }
    }
}
