//! What became of a try, told to everybody who counts: the endpoint, and the breaker of its service.

use std::sync::Arc;

use model::{structure::Upstream, time::BootNanos};

use crate::{
    balance::{
        breaker::{Breaker, Pass},
        cluster::KeptPeer,
        tally::{Event, Tally},
        window::Window,
    },
    health::Outcome,
};

/// Those who count.
#[derive(Debug)]
pub(super) struct Verdict<'v> {
    pub(super) kept: &'v KeptPeer,
    pub(super) window: &'v Window,
    pub(super) breaker: Option<&'v Breaker>,
    pub(super) upstream: &'v Upstream,
    pub(super) region: &'v str,
}

impl Verdict<'_> {
    /// Tells them.
    pub(super) fn tell(&self, outcome: Outcome, pass: Pass, tally: &Tally, now: BootNanos) {
        let rule = &self.upstream.resilience;
        let is_good = outcome == Outcome::Good;
        let is_share_bad = self.kept.window.is_bad_after(is_good, &rule.outliers.success, now);
        if is_good {
            self.kept.endpoint.good(&rule.outliers, now);
        } else {
            self.kept.endpoint.failed(outcome, is_share_bad, &rule.outliers, tally, now);
        }
        if let (Some(breaker), Some(rule)) = (self.breaker, &rule.breaker) {
            let is_share_bad = self.window.is_bad_after(is_good, &rule.success, now);
            if is_good {
                breaker.good(pass, rule);
            } else if breaker.bad(pass, is_share_bad, rule, now) {
                tally.count(Event::BreakerOpened);
                tracing::warn!(upstream = %self.upstream.name, region.target = %self.region, "a service failed too often and is left alone");
            }
        }
    }
}

/// A verdict that is owed until the trailers of a call tell it. Dropped before, as when the client hangs up, it says nothing.
#[derive(Debug)]
pub(crate) struct Owed {
    kept: Arc<KeptPeer>,
    window: Arc<Window>,
    breaker: Option<Arc<Breaker>>,
    upstream: Arc<Upstream>,
    region: Arc<str>,
}

impl Owed {
    pub(super) fn new(
        kept: &Arc<KeptPeer>,
        window: &Arc<Window>,
        breaker: Option<&Arc<Breaker>>,
        upstream: &Arc<Upstream>,
        region: &Arc<str>,
    ) -> Self {
        Self {
            kept: Arc::clone(kept),
            window: Arc::clone(window),
            breaker: breaker.cloned(),
            upstream: Arc::clone(upstream),
            region: Arc::clone(region),
        }
    }

    /// Tells it.
    pub(crate) fn tell(&self, outcome: Outcome, tally: &Tally, now: BootNanos) {
        let verdict =
            Verdict { kept: &self.kept, window: &self.window, breaker: self.breaker.as_deref(), upstream: &self.upstream, region: &self.region };
        verdict.tell(outcome, Pass::Free, tally, now);
    }
}
