//! The gate in front of all cryptography: an address prefix that keeps failing is refused cheaply.
//!
//! Honest callers never meet it: only failures are counted. While an address is refused its requests are not recorded
//! one by one; their number is, so that the log is not the thing to attack.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicUsize, Ordering},
};

use model::{
    limit::{Cell, Quota, Rate, Verdict},
    problem::{Denial, ProblemKind},
    time::BootNanos,
};
use parking_lot::Mutex;

/// Prefixes that are remembered at most: 16 bytes each with a cell, a few megabytes.
const PREFIXES_MAX: usize = 65_536;

/// An address prefix: /24 for IPv4, /64 for IPv6 (one household or one machine at a provider).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix(IpAddr);

impl Prefix {
    /// The prefix of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self(IpAddr::from([a, b, c, 0]))
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self(IpAddr::from([a, b, c, d, 0, 0, 0, 0]))
            }
        }
    }

    /// The prefix as an address with zeros.
    pub const fn address(self) -> IpAddr {
        self.0
    }
}

#[derive(Debug, Default)]
struct Entry {
    failures: Cell,
    refused: u64,
}

/// Counts failures by address prefix.
#[derive(Debug)]
pub struct PeerGate {
    quota: Quota,
    known: AtomicUsize,
    entries: Mutex<HashMap<Prefix, Entry>>,
}

impl PeerGate {
    /// A gate that closes for a prefix once its failures exceed the quota.
    pub fn new(rate: Rate, burst: Option<NonZeroU32>) -> Self {
        Self { quota: Quota::new(rate, burst), known: AtomicUsize::new(0), entries: Mutex::default() }
    }

    /// Lets a request in, unless its prefix has used up its failures.
    ///
    /// # Errors
    /// `peer-limited`, which is counted and not recorded one by one.
    pub fn check(&self, address: IpAddr, now: BootNanos) -> Result<(), Denial> {
        if self.known.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get_mut(&Prefix::of(address)) else { return Ok(()) };
        match entry.failures.peek(&self.quota, now) {
            Verdict::Admitted { .. } => Ok(()),
            Verdict::Refused { retry_after_nanos } => {
                entry.refused += 1;
                let seconds = retry_after_nanos.div_ceil(1_000_000_000).max(1);
                Err(Denial::new(ProblemKind::PeerLimited, "too many refused requests came from this address; slow down").retry_after(seconds))
            }
        }
    }

    /// Counts a failure of a prefix.
    pub fn failed(&self, address: IpAddr, now: BootNanos) {
        let mut entries = self.entries.lock();
        if entries.len() >= PREFIXES_MAX {
            entries.retain(|_, entry| entry.refused > 0 || !entry.failures.is_idle(now));
        }
        if entries.len() < PREFIXES_MAX {
            entries.entry(Prefix::of(address)).or_default().failures.charge(&self.quota, now);
        }
        self.known.store(entries.len(), Ordering::Relaxed);
    }

    /// Takes the numbers of refused requests since the last call, and forgets prefixes that have calmed down.
    pub fn take_refused(&self, now: BootNanos) -> Vec<(Prefix, u64)> {
        let mut entries = self.entries.lock();
        let refused =
            entries.iter_mut().filter(|(_, entry)| entry.refused > 0).map(|(prefix, entry)| (*prefix, std::mem::take(&mut entry.refused))).collect();
        entries.retain(|_, entry| !entry.failures.is_idle(now));
        self.known.store(entries.len(), Ordering::Relaxed);
        refused
    }
}

#[cfg(test)]
mod tests;
