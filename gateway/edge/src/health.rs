//! Which targets failed lately: passive health, shared by all cores.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use model::time::BootNanos;
use parking_lot::RwLock;

/// The first pause after a failure; it doubles with each further one.
const PAUSE_NANOS: u64 = 500_000_000;
/// The longest pause: a target that comes back is used again within this time.
const PAUSE_NANOS_MAX: u64 = 8_000_000_000;

/// What is known about one target.
#[derive(Debug, Default)]
pub struct Health {
    failures: AtomicU32,
    down_until: AtomicU64,
}

impl Health {
    /// True unless the target failed and its pause is not over.
    pub fn is_up(&self, now: BootNanos) -> bool {
        self.down_until.load(Ordering::Relaxed) <= now.0
    }

    /// Notes that the target could not be reached, or broke off.
    pub fn failed(&self, now: BootNanos) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).min(8);
        let pause = (PAUSE_NANOS << failures).min(PAUSE_NANOS_MAX);
        self.down_until.store(now.0.saturating_add(pause), Ordering::Relaxed);
    }

    /// Notes an answer.
    pub fn answered(&self) {
        // Reads first: the usual case must not dirty a cache line that all cores share.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.down_until.store(0, Ordering::Relaxed);
        }
    }
}

/// Health by target address.
#[derive(Debug, Default)]
pub struct HealthTable {
    targets: RwLock<HashMap<Box<str>, Arc<Health>>>,
}

impl HealthTable {
    /// The health of an address, made when it is first asked for.
    pub fn of(&self, address: &str) -> Arc<Health> {
        if let Some(health) = self.targets.read().get(address) {
            return Arc::clone(health);
        }
        Arc::clone(self.targets.write().entry(address.into()).or_default())
    }

    /// Addresses and whether they are up, for status pages.
    pub fn view(&self, now: BootNanos) -> Vec<(Box<str>, bool)> {
        self.targets.read().iter().map(|(address, health)| (address.clone(), health.is_up(now))).collect()
    }
}
