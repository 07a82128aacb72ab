//! Which endpoints are well: what checks say ([`check`], [`watch`]) and what requests met ([`Endpoint::failed`]), shared by all
//! cores and kept through reloads.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use model::{
    structure::resilience::{HealthCheck, Outliers},
    time::BootNanos,
};
use parking_lot::RwLock;

use crate::balance::{
    places::Places,
    tally::{Event, Tally},
};

pub mod check;
mod grpc;
pub mod watch;

/// What became of a request at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An answer below 500.
    Good,
    /// An answer from 500 on, by the service itself.
    ServerError,
    /// No answer: no connection, no HTTP, not in time; or 502, 503, 504, which say so of something behind it.
    GatewayFailure,
}

impl Outcome {
    /// What a status says.
    pub const fn of_status(status: u16) -> Self {
        match status {
            502..=504 => Self::GatewayFailure,
            500.. => Self::ServerError,
            _ => Self::Good,
        }
    }
}

/// What is known about one endpoint of a service.
#[derive(Debug)]
pub struct Endpoint {
    address: Box<str>,
    upstream: Box<str>,
    gateway_failures: AtomicU32,
    server_errors: AtomicU32,
    rests: AtomicU32,
    rest_until: AtomicU64,
    is_out: AtomicBool,
    checks_in_a_row: AtomicU32,
    /// Since when it may be used, for slow start.
    since: AtomicU64,
    places: Arc<Places>,
    changes: Arc<AtomicU64>,
}

impl Endpoint {
    /// Its address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The name of its service.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// Its places in flight.
    pub const fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// True unless it rests or a check took it out.
    pub fn is_usable(&self, now: BootNanos) -> bool {
        !self.is_out.load(Ordering::Relaxed) && self.rest_until.load(Ordering::Relaxed) <= now.0
    }

    /// True when a check took it out.
    pub fn is_out(&self) -> bool {
        self.is_out.load(Ordering::Relaxed)
    }

    /// When its rest ends; zero or past when it does not rest.
    pub fn rest_until(&self) -> BootNanos {
        BootNanos(self.rest_until.load(Ordering::Relaxed))
    }

    /// Its share of the usual load while it starts slowly, above 0 and at most 1.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
    pub fn share(&self, slow_start_nanos: u64, now: BootNanos) -> f64 {
        /// Less would leave it without a request to show what it can.
        const LEAST: f64 = 0.1;
        if slow_start_nanos == 0 {
            return 1.0;
        }
        let since = self.since.load(Ordering::Relaxed).max(self.rest_until.load(Ordering::Relaxed));
        let passed = now.nanos_since(BootNanos(since));
        if passed >= slow_start_nanos { 1.0 } else { (passed as f64 / slow_start_nanos as f64).max(LEAST) }
    }

    /// Notes a good answer.
    pub fn good(&self, rule: &Outliers, now: BootNanos) {
        // Reads first: the usual case must not dirty a cache line that all cores share.
        for counter in [&self.gateway_failures, &self.server_errors] {
            if counter.load(Ordering::Relaxed) != 0 {
                counter.store(0, Ordering::Relaxed);
            }
        }
        if self.rests.load(Ordering::Relaxed) != 0 && now.nanos_since(self.rest_until()) >= rule.rest_nanos_max {
            self.rests.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a failure; the endpoint rests when there were enough. `is_share_bad`: too few of its answers were good.
    pub fn failed(&self, outcome: Outcome, is_share_bad: bool, rule: &Outliers, tally: &Tally, now: BootNanos) {
        // An answer of the service's own shows that there is no gateway failure; each other kind counts as an error too.
        let gateway = match outcome {
            Outcome::Good => return,
            Outcome::ServerError => {
                self.gateway_failures.store(0, Ordering::Relaxed);
                0
            }
            Outcome::GatewayFailure => self.gateway_failures.fetch_add(1, Ordering::Relaxed).saturating_add(1),
        };
        let server = self.server_errors.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let event = match () {
            () if rule.gateway_failures > 0 && gateway >= rule.gateway_failures => Event::RestGatewayFailures,
            () if rule.server_errors > 0 && server >= rule.server_errors => Event::RestServerErrors,
            () if is_share_bad => Event::RestSuccessRate,
            () => return,
        };
        self.rest(event, rule, tally, now);
    }

    fn rest(&self, event: Event, rule: &Outliers, tally: &Tally, now: BootNanos) {
        // Failures of requests that were under way when the rest began do not make it longer.
        if !self.is_resting(now) {
            let rests = self.rests.fetch_add(1, Ordering::Relaxed).min(30);
            let rest = rule.rest_nanos.saturating_mul(1 << rests).min(rule.rest_nanos_max);
            self.rest_until.store(now.0.saturating_add(rest), Ordering::Relaxed);
            // On probation: when it comes back, one failure more is enough.
            self.gateway_failures.store(rule.gateway_failures.saturating_sub(1), Ordering::Relaxed);
            self.server_errors.store(rule.server_errors.saturating_sub(1), Ordering::Relaxed);
            self.changes.fetch_add(1, Ordering::Release);
            tally.count(event);
            tracing::warn!(upstream = %self.upstream, reason = ?event, rest_ms = rest / 1_000_000, "an endpoint failed and rests");
        }
    }

    fn is_resting(&self, now: BootNanos) -> bool {
        self.rest_until.load(Ordering::Relaxed) > now.0
    }

    /// Notes what a check found. One task alone calls this.
    pub fn checked(&self, is_well: bool, rule: &HealthCheck, tally: &Tally, now: BootNanos) {
        if is_well != self.is_out() {
            self.checks_in_a_row.store(0, Ordering::Relaxed);
            return;
        }
        let in_a_row = self.checks_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if in_a_row < if is_well { rule.healthy } else { rule.unhealthy } {
            return;
        }
        self.checks_in_a_row.store(0, Ordering::Relaxed);
        if is_well {
            // A check is better news than the failures from before.
            self.rest_until.store(0, Ordering::Relaxed);
            self.since.store(now.0, Ordering::Relaxed);
        }
        self.set_out(!is_well);
        tally.count(if is_well { Event::CheckBack } else { Event::CheckOut });
        tracing::warn!(upstream = %self.upstream, is_well, "a check changed what is known about an endpoint");
    }

    /// Ends what checks said, when there is no check any more.
    pub fn unchecked(&self) {
        self.checks_in_a_row.store(0, Ordering::Relaxed);
        if self.is_out() {
            self.set_out(false);
        }
    }

    fn set_out(&self, is_out: bool) {
        self.is_out.store(is_out, Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Release);
    }
}

/// Endpoints by service and address.
#[derive(Debug, Default)]
pub struct HealthTable {
    endpoints: RwLock<HashMap<Box<str>, Arc<Endpoint>>>,
    changes: Arc<AtomicU64>,
}

impl HealthTable {
    /// An endpoint, made when it is first asked for.
    pub fn of(&self, upstream: &str, address: &str, now: BootNanos) -> Arc<Endpoint> {
        let key = format!("{upstream} {address}");
        if let Some(endpoint) = self.endpoints.read().get(key.as_str()) {
            return Arc::clone(endpoint);
        }
        let make = || {
            Arc::new(Endpoint {
                address: address.into(),
                upstream: upstream.into(),
                gateway_failures: AtomicU32::new(0),
                server_errors: AtomicU32::new(0),
                rests: AtomicU32::new(0),
                rest_until: AtomicU64::new(0),
                is_out: AtomicBool::new(false),
                checks_in_a_row: AtomicU32::new(0),
                since: AtomicU64::new(now.0),
                places: Arc::default(),
                changes: Arc::clone(&self.changes),
            })
        };
        Arc::clone(self.endpoints.write().entry(key.into()).or_insert_with(make))
    }

    /// A number that moves when any endpoint changes for another reason than the passing of time.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Endpoints that are known, for metrics.
    pub fn view(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints.read().values().map(Arc::clone).collect()
    }

    /// Forgets endpoints that nobody uses: names move, and their old addresses do not come back.
    pub fn sweep(&self) {
        self.endpoints.write().retain(|_, endpoint| Arc::strong_count(endpoint) > 1);
    }
}

#[cfg(test)]
mod tests;
