//! How often somebody may try to be let in. Counted in each node by itself: with n nodes the bounds are n times as high.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use model::{
    key::fingerprint_plain,
    problem::{Denial, ProblemKind},
};

use crate::{port::PeerAddress, refusal::Refusal};

/// Sign-ups, sign-ins and accepted invitations of one address (IPv6: one /64): this many at once, and one more in six seconds.
const OF_ADDRESS: (Duration, u32) = (Duration::from_secs(6), 20);

/// Sign-ins to one account, known or not: this many at once, and one more in a minute. Nobody is locked out for longer by somebody else's
/// guesses, and nobody guesses more than 1,500 times a day.
const OF_ACCOUNT: (Duration, u32) = (Duration::from_mins(1), 10);

/// Calls of the console of one account.
const OF_CALLER: (Duration, u32) = (Duration::from_secs(1), 30);

/// Entries after which those that say nothing any more are dropped.
const ENTRIES_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Throttle {
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    accounts: DefaultKeyedRateLimiter<[u8; 32]>,
    callers: DefaultKeyedRateLimiter<uuid::Uuid>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            addresses: RateLimiter::keyed(quota(OF_ADDRESS)),
            accounts: RateLimiter::keyed(quota(OF_ACCOUNT)),
            callers: RateLimiter::keyed(quota(OF_CALLER)),
        }
    }
}

impl Throttle {
    /// Counts an act of somebody who is not known yet.
    pub(super) fn stranger(&self, peer: Option<PeerAddress>) -> Result<(), Refusal> {
        let Some(PeerAddress(address)) = peer else { return Err(Refusal::internal()) };
        taken(&self.addresses, &network(address))
    }

    /// Counts a sign-in to an account.
    pub(super) fn sign_in(&self, email: &str) -> Result<(), Refusal> {
        taken(&self.accounts, &fingerprint_plain(email.as_bytes()))
    }

    /// Counts a call of the console.
    pub(super) fn call(&self, account: uuid::Uuid) -> Result<(), Refusal> {
        taken(&self.callers, &account)
    }
}

fn taken<K: std::hash::Hash + Eq + Clone>(limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> Result<(), Refusal> {
    if limiter.len() > ENTRIES_MAX {
        limiter.retain_recent();
    }
    limiter.check_key(key).map_err(|_| Denial::new(ProblemKind::PeerLimited, "too many tries; wait a minute").retry_after(60).into())
}

fn quota((every, at_once): (Duration, u32)) -> Quota {
    let at_once = NonZeroU32::new(at_once).unwrap_or(NonZeroU32::MIN);
    Quota::with_period(every).unwrap_or(Quota::per_minute(NonZeroU32::MIN)).allow_burst(at_once)
}

/// One customer has a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        IpAddr::V4(address) => IpAddr::V4(address),
    }
}
