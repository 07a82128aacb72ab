//! How often somebody may try to be let in. Counted in each node by itself: with n nodes the bounds are n times as high.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use model::{
    key::{fingerprint, fingerprint_plain},
    limit::{Cell, Quota, Verdict},
    problem::{Denial, ProblemKind},
    time::BootNanos,
};

use crate::{port::PeerAddress, refusal::Refusal};

/// Sign-ups, sign-ins and accepted invitations of one network: this many at once, and one more in six seconds.
const OF_NETWORK: (u32, Duration) = (20, Duration::from_secs(6));

/// Sign-ins to one account, known or not, from one network: this many at once, and one more in a minute.
const OF_GUESSER: (u32, Duration) = (10, Duration::from_mins(1));

/// Sign-ins to one account from everywhere: a bound on guesses that come from many networks. Below it nobody's guesses keep its owner out.
const OF_ACCOUNT: (u32, Duration) = (100, Duration::from_secs(10));

/// Codes of a second factor, from everywhere: whoever tries them knows the password already. At this rate, with three codes in a million
/// that count at a time, a year of guesses finds one with a chance of a quarter in each node; each leaves a record.
const OF_CODE: (u32, Duration) = (10, Duration::from_mins(5));

/// Calls of the console of one account.
const OF_CALLER: (u32, Duration) = (30, Duration::from_secs(1));

/// Requests of the programs of one account: this many at once, and a hundred more in a second.
const OF_PROGRAM: (u32, Duration) = (200, Duration::from_millis(10));

/// Whom one kind of bucket knows at once. When all of them have something to remember, the others share one.
const KNOWN_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Throttle {
    networks: Buckets<IpAddr>,
    guessers: Buckets<[u8; 32]>,
    accounts: Buckets<[u8; 32]>,
    codes: Buckets<uuid::Uuid>,
    callers: Buckets<uuid::Uuid>,
    programs: Buckets<uuid::Uuid>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            networks: Buckets::new(OF_NETWORK),
            guessers: Buckets::new(OF_GUESSER),
            accounts: Buckets::new(OF_ACCOUNT),
            codes: Buckets::new(OF_CODE),
            callers: Buckets::new(OF_CALLER),
            programs: Buckets::new(OF_PROGRAM),
        }
    }
}

impl Throttle {
    /// Counts an act of somebody who is not known yet.
    pub(super) fn stranger(&self, peer: Option<PeerAddress>, now: BootNanos) -> Result<(), Refusal> {
        self.networks.take(network(peer)?, now)
    }

    /// Counts a sign-in to an account by somebody who may be anybody.
    pub(super) fn sign_in(&self, email: &str, peer: Option<PeerAddress>, now: BootNanos) -> Result<(), Refusal> {
        let from = network(peer)?.to_string();
        self.guessers.take(fingerprint(&[email.as_bytes(), from.as_bytes()]), now)?;
        self.accounts.take(fingerprint_plain(email.as_bytes()), now)
    }

    /// Counts a look at the password of somebody who has signed in: strangers' guesses do not count against them.
    pub(super) fn own_password(&self, account: uuid::Uuid, now: BootNanos) -> Result<(), Refusal> {
        self.guessers.take(fingerprint(&[b"own", account.as_bytes()]), now)
    }

    /// Counts a look at a code of the second factor of an account.
    pub(super) fn code(&self, account: uuid::Uuid, now: BootNanos) -> Result<(), Refusal> {
        self.codes.take(account, now)
    }

    /// Counts a call of the console.
    pub(super) fn call(&self, account: uuid::Uuid, now: BootNanos) -> Result<(), Refusal> {
        self.callers.take(account, now)
    }

    /// Counts a request that came with a token of somebody's own.
    pub(super) fn program(&self, account: uuid::Uuid, now: BootNanos) -> Result<(), Refusal> {
        self.programs.take(account, now)
    }
}

/// One quota for each of many.
#[derive(Debug)]
struct Buckets<K> {
    quota: Quota,
    cells: Mutex<HashMap<K, Cell>>,
    /// Of those for whom there is no place.
    others: Cell,
}

impl<K: Hash + Eq> Buckets<K> {
    fn new((at_once, every): (u32, Duration)) -> Self {
        let burst = NonZeroU32::new(at_once).unwrap_or(NonZeroU32::MIN);
        let interval_nanos = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
        Self { quota: Quota { interval_nanos, burst }, cells: Mutex::default(), others: Cell::new() }
    }

    fn take(&self, key: K, now: BootNanos) -> Result<(), Refusal> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if cells.len() >= KNOWN_MAX && !cells.contains_key(&key) {
            cells.retain(|_, cell| !cell.is_idle(now));
        }
        let has_place = cells.len() < KNOWN_MAX || cells.contains_key(&key);
        let cell = if has_place { &*cells.entry(key).or_default() } else { &self.others };
        match cell.charge(&self.quota, now) {
            Verdict::Admitted { .. } => Ok(()),
            Verdict::Refused { retry_after_nanos } => {
                let seconds = retry_after_nanos.div_ceil(1_000_000_000);
                Err(Denial::new(ProblemKind::PeerLimited, "too many tries; wait a little").retry_after(seconds).into())
            }
        }
    }
}

/// One customer has a /64 of IPv6.
fn network(peer: Option<PeerAddress>) -> Result<IpAddr, Refusal> {
    let PeerAddress(address) = peer.ok_or_else(Refusal::internal)?;
    Ok(match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        IpAddr::V4(address) => IpAddr::V4(address),
    })
}

#[cfg(test)]
mod tests;
