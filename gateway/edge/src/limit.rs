//! Admits a permitted request against its route's limits; with [`readmit`] the only constructor of [`Admitted`].

use std::{collections::HashMap, net::IpAddr};

use foldhash::fast::RandomState;
use http::{HeaderMap, HeaderName, HeaderValue};
use model::{
    document::ByDoc,
    key::KeyId,
    limit::{Cell, Quota, Verdict},
    problem::{Denial, ProblemKind},
    structure::{LimitSource, RouteLimit},
    time::BootNanos,
};
use parking_lot::RwLock;
use uuid::Uuid;

use crate::{authenticate::Proof, authorize::Permit, fields, gate::Prefix};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

const SHARDS: usize = 64;
/// Cells in one shard: four million in all. Beyond, a sweep makes room, or the subject shares a cell with others.
const CELLS_PER_SHARD: usize = 65_536;

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Key(KeyId),
    Owner(Uuid),
    Address(IpAddr),
    /// Shared by all for whom there was no room: limits get stricter under a flood, never looser.
    Overflow,
}

/// Seeded at the start, so that nobody can choose addresses that fall together.
type Shard = RwLock<HashMap<(u64, Subject), Cell, RandomState>>;

/// The counters of all limits, by limit and subject; they survive reloads.
#[derive(Debug)]
pub struct Cells {
    shards: Box<[Shard]>,
    hasher: RandomState,
}

impl Default for Cells {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect(), hasher: RandomState::default() }
    }
}

impl Cells {
    fn with<R>(&self, key: (u64, Subject), now: BootNanos, act: impl Fn(&Cell) -> R) -> Option<R> {
        use std::hash::BuildHasher;
        let index = usize::try_from(self.hasher.hash_one(key)).unwrap_or(0) % SHARDS;
        let shard = self.shards.get(index)?;
        if let Some(cell) = shard.read().get(&key) {
            return Some(act(cell));
        }
        let mut cells = shard.write();
        if cells.len() >= CELLS_PER_SHARD {
            cells.retain(|_, cell| !cell.is_idle(now));
        }
        let key = if cells.len() >= CELLS_PER_SHARD { (key.0, Subject::Overflow) } else { key };
        Some(act(cells.entry(key).or_default()))
    }

    /// Forgets cells that hold no debt.
    pub fn sweep(&self, now: BootNanos) {
        for shard in &self.shards {
            shard.write().retain(|_, cell| !cell.is_idle(now));
        }
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// True when nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A request that may go on, and what its limits said.
#[derive(Debug)]
pub struct Admitted<'s> {
    permit: Permit<'s>,
}

impl<'s> Admitted<'s> {
    /// The permit that was admitted.
    pub const fn permit(&self) -> &Permit<'s> {
        &self.permit
    }
}

/// What the limits said, for the headers of any response that follows.
#[derive(Debug, Default)]
pub struct LimitFacts {
    policy: String,
    state: String,
    /// The limit that refused.
    pub refused_by: Option<std::sync::Arc<str>>,
}

impl LimitFacts {
    /// Writes `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11).
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        if self.policy.is_empty() {
            return;
        }
        if let Ok(policy) = HeaderValue::from_str(&self.policy) {
            headers.insert(POLICY, policy);
        }
        if let Some(state) = fields::unrepeated(&self.state) {
            headers.insert(STATE, state);
        }
    }

    fn add(&mut self, name: &str, quota: &Quota, verdict: Verdict) {
        let (remaining, seconds) = match verdict {
            Verdict::Admitted { remaining: 0, .. } => (0, seconds(quota.interval_nanos)),
            Verdict::Admitted { remaining, full_after_nanos } => (remaining, seconds(full_after_nanos)),
            Verdict::Refused { retry_after_nanos } => (0, seconds(retry_after_nanos)),
        };
        let comma = if self.policy.is_empty() { "" } else { ", " };
        let mut digits = itoa::Buffer::new();
        let mut put = |out: &mut String, marks: [&str; 2], numbers: [u64; 2]| {
            out.reserve(48);
            for text in [comma, "\"", name, "\""] {
                out.push_str(text);
            }
            for (mark, number) in marks.into_iter().zip(numbers) {
                out.push_str(mark);
                out.push_str(digits.format(number));
            }
        };
        put(&mut self.policy, [";q=", ";w="], [u64::from(quota.burst.get()), quota.window_seconds()]);
        put(&mut self.state, [";r=", ";t="], [u64::from(remaining), seconds]);
    }
}

fn seconds(nanos: u64) -> u64 {
    nanos.div_ceil(1_000_000_000).max(1)
}

/// Charges all limits of the route, or none.
///
/// # Errors
/// `quota-exceeded` with the seconds until the limit that refused admits again.
pub fn admit<'s>(permit: Permit<'s>, cells: &Cells, address: IpAddr, now: BootNanos, facts: &mut LimitFacts) -> Result<Admitted<'s>, Denial> {
    // Known before anything is charged: a request that cannot be counted charges nothing.
    let quotas = permit.route().limits.iter().map(|limit| Ok((limit, quota(limit, &permit)?))).collect::<Result<Vec<_>, Denial>>()?;
    let mut charged: Vec<(&RouteLimit, Quota)> = Vec::new();
    let mut refused: Option<(&RouteLimit, u64)> = None;
    for (limit, quota) in quotas {
        let key = (limit.scope, subject(limit, &permit, address));
        let verdict = if refused.is_none() {
            cells.with(key, now, |cell| cell.charge(&quota, now))
        } else {
            cells.with(key, now, |cell| cell.peek(&quota, now))
        };
        let Some(verdict) = verdict else { continue };
        facts.add(&limit.name, &quota, verdict);
        match verdict {
            Verdict::Admitted { .. } if refused.is_none() => charged.push((limit, quota)),
            Verdict::Refused { retry_after_nanos } if refused.is_none_or(|(_, nanos)| nanos < retry_after_nanos) => {
                refused = Some((limit, retry_after_nanos));
            }
            Verdict::Admitted { .. } | Verdict::Refused { .. } => {}
        }
    }
    let Some((limit, nanos)) = refused else { return Ok(Admitted { permit }) };
    for (charged, quota) in charged {
        cells.with((charged.scope, subject(charged, &permit, address)), now, |cell| cell.refund(&quota));
    }
    facts.refused_by = Some(std::sync::Arc::clone(&limit.name));
    let seconds = seconds(nanos);
    Err(Denial::new(ProblemKind::QuotaExceeded, format!("the limit `{}` is used up; it admits again in {seconds} s", limit.name))
        .retry_after(seconds))
}

/// Admits the gateway's own request on behalf of one that was charged already: the refresh of a stored response.
pub const fn readmit(permit: Permit<'_>) -> Admitted<'_> {
    Admitted { permit }
}

/// The quota of a limit for this caller.
///
/// # Errors
/// `route-forbidden` when the limit stands in a plan and the caller has none: what is not bought is not unlimited.
fn quota(limit: &RouteLimit, permit: &Permit<'_>) -> Result<Quota, Denial> {
    match &limit.source {
        LimitSource::Fixed(quota) => Ok(*quota),
        LimitSource::Plan(name) => permit
            .plan()
            .and_then(|plan| plan.limits.get(name).copied())
            .ok_or_else(|| Denial::new(ProblemKind::RouteForbidden, "this route is limited by the caller's plan, and the application has none")),
    }
}

fn subject(limit: &RouteLimit, permit: &Permit<'_>, address: IpAddr) -> Subject {
    match (limit.by, permit.principal()) {
        (ByDoc::Key, Some(principal)) => match &principal.proof {
            Proof::Key(proof) => Subject::Key(proof.id),
            Proof::Token(token) => Subject::Owner(token.subject_id),
            Proof::Certificate(certified) => Subject::Owner(certified.subject_id),
            Proof::Signature(signed) => Subject::Owner(signed.subject_id),
        },
        (ByDoc::Application, Some(principal)) => Subject::Owner(principal.application_id.uuid()),
        (ByDoc::Consumer, Some(principal)) => Subject::Owner(principal.consumer_id.uuid()),
        // IPv6 clients own a /64; counting single addresses would count nothing.
        (ByDoc::Address, _) | (_, None) if address.is_ipv6() => Subject::Address(Prefix::of(address).address()),
        (ByDoc::Address, _) | (_, None) => Subject::Address(address),
    }
}
