//! The share of good answers, as one core sees it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use model::{structure::resilience::SuccessRule, time::BootNanos};

/// Answers of one endpoint or service since the window began. One core alone writes here.
#[derive(Debug, Default)]
pub struct Window {
    began: AtomicU64,
    requests: AtomicU32,
    failures: AtomicU32,
}

impl Window {
    /// Counts an answer; true when the share of good ones is now below the rule's. Then the count begins anew.
    pub fn is_bad_after(&self, is_good: bool, rule: &SuccessRule, now: BootNanos) -> bool {
        if rule.percent == 0 {
            return false;
        }
        if now.nanos_since(BootNanos(self.began.load(Ordering::Relaxed))) >= rule.window_nanos {
            self.begin(now);
        }
        let requests = self.requests.load(Ordering::Relaxed).saturating_add(1);
        let failures = self.failures.load(Ordering::Relaxed).saturating_add(u32::from(!is_good));
        self.requests.store(requests, Ordering::Relaxed);
        self.failures.store(failures, Ordering::Relaxed);
        let good = u64::from(requests.saturating_sub(failures));
        let is_bad = !is_good && requests >= rule.requests && good * 100 < u64::from(requests) * u64::from(rule.percent);
        if is_bad {
            self.begin(now);
        }
        is_bad
    }

    fn begin(&self, now: BootNanos) {
        self.began.store(now.0, Ordering::Relaxed);
        self.requests.store(0, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
