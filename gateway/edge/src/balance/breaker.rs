//! The circuit breaker of a service in one region: open, it fails fast; then a few requests find out whether it is well again.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU32, Ordering},
};

use model::{structure::resilience::BreakerRule, time::BootNanos};
use parking_lot::Mutex;

/// How a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Requests pass.
    Closed,
    /// A few requests pass, to find out.
    HalfOpen,
    /// Requests are refused.
    Open,
}

/// One breaker, shared by all cores.
#[derive(Debug, Default)]
pub struct Breaker {
    /// What `state` says, for the usual case: a request that passes a closed breaker only reads.
    phase: AtomicU8,
    failures: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    opened_at: u64,
    trials_out: u32,
    trials_good: u32,
}

/// The right to send a request past a breaker.
#[derive(Debug)]
pub enum Pass {
    /// The breaker is closed.
    Free,
    /// The request is one of those that find out; dropped without a word, another may.
    Trial(Trial),
}

/// A request that finds out whether a service is well again.
#[derive(Debug)]
pub struct Trial(Option<Arc<Breaker>>);

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(breaker) = self.0.take() {
            let mut state = breaker.state.lock();
            state.trials_out = state.trials_out.saturating_sub(1);
        }
    }
}

impl Breaker {
    /// How the breaker stands. An open one whose time is over counts as half open.
    pub fn phase(&self, rule: &BreakerRule, now: BootNanos) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Closed,
            1 => Phase::HalfOpen,
            _ if now.nanos_since(BootNanos(self.state.lock().opened_at)) >= rule.open_nanos => Phase::HalfOpen,
            _ => Phase::Open,
        }
    }

    /// True when a request would be refused now.
    pub fn refuses(&self, rule: &BreakerRule, now: BootNanos) -> bool {
        self.phase.load(Ordering::Acquire) != 0
            && (self.phase(rule, now) == Phase::Open || {
                let state = self.state.lock();
                self.phase.load(Ordering::Acquire) == 1 && state.trials_out + state.trials_good >= rule.trials
            })
    }

    /// Lets a request pass.
    ///
    /// # Errors
    /// The nanoseconds after which it is worth asking again.
    pub fn admit(self: &Arc<Self>, rule: &BreakerRule, now: BootNanos) -> Result<Pass, u64> {
        if self.phase.load(Ordering::Acquire) == 0 {
            return Ok(Pass::Free);
        }
        let mut state = self.state.lock();
        match self.phase.load(Ordering::Acquire) {
            0 => return Ok(Pass::Free),
            1 => {}
            _ => {
                let passed = now.nanos_since(BootNanos(state.opened_at));
                if passed < rule.open_nanos {
                    return Err(rule.open_nanos - passed);
                }
                (state.trials_out, state.trials_good) = (0, 0);
                self.phase.store(1, Ordering::Release);
            }
        }
        if state.trials_out + state.trials_good >= rule.trials {
            return Err(rule.open_nanos);
        }
        state.trials_out += 1;
        Ok(Pass::Trial(Trial(Some(Arc::clone(self)))))
    }

    /// Notes a good answer; true when it closed the breaker.
    pub fn good(&self, pass: Pass, rule: &BreakerRule) -> bool {
        match pass {
            Pass::Free => {
                // Reads first: the usual case must not dirty a cache line that all cores share.
                if self.failures.load(Ordering::Relaxed) != 0 {
                    self.failures.store(0, Ordering::Relaxed);
                }
                false
            }
            Pass::Trial(mut trial) => {
                trial.0 = None;
                let mut state = self.state.lock();
                if self.phase.load(Ordering::Acquire) != 1 {
                    return false;
                }
                state.trials_out = state.trials_out.saturating_sub(1);
                state.trials_good += 1;
                let closes = state.trials_good >= rule.trials;
                if closes {
                    self.failures.store(0, Ordering::Relaxed);
                    self.phase.store(0, Ordering::Release);
                }
                closes
            }
        }
    }

    /// Notes a failure; `is_share_bad` when the share of good answers is below the rule's. True when it opened the breaker.
    pub fn bad(&self, pass: Pass, is_share_bad: bool, rule: &BreakerRule, now: BootNanos) -> bool {
        let opens = match pass {
            Pass::Free => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                is_share_bad || rule.failures > 0 && failures >= rule.failures
            }
            Pass::Trial(mut trial) => {
                trial.0 = None;
                true
            }
        };
        let mut state = self.state.lock();
        // Requests that passed before it opened and fail now change nothing: it would never be tried again.
        if !opens || self.phase.load(Ordering::Acquire) == 2 {
            return false;
        }
        *state = State { opened_at: now.0, ..State::default() };
        self.failures.store(0, Ordering::Relaxed);
        self.phase.store(2, Ordering::Release);
        true
    }
}

#[cfg(test)]
mod tests;
