//! How many WebSockets there were, and why they ended.

use std::sync::atomic::{AtomicU64, Ordering};

use model::problem::ProblemKind;

use crate::stay::Over;

/// Why a WebSocket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// The client closed first.
    Client = 1,
    /// The service closed first.
    Service,
    /// A connection broke without a close frame.
    Broken,
    /// Nothing passed for as long as the route allows.
    Idle,
    /// It was open for as long as the route allows.
    Lifetime,
    /// One side did not read.
    Stalled,
    /// The key is revoked or expired, or its owner is gone.
    Revoked,
    /// The route is gone, takes no WebSockets any more, or not this caller's.
    Withdrawn,
    /// Keys cannot be confirmed.
    Stale,
    /// The region that it comes from may not serve it any more.
    Misplaced,
    /// The node stops.
    Drain,
}

impl From<Over> for End {
    fn from(over: Over) -> Self {
        match over {
            Over::Revoked => Self::Revoked,
            Over::Withdrawn => Self::Withdrawn,
            Over::Stale => Self::Stale,
            Over::Misplaced => Self::Misplaced,
        }
    }
}

impl End {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::Client,
        Self::Service,
        Self::Broken,
        Self::Idle,
        Self::Lifetime,
        Self::Stalled,
        Self::Revoked,
        Self::Withdrawn,
        Self::Stale,
        Self::Misplaced,
        Self::Drain,
    ];

    /// The reason with this number.
    pub(super) fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|end| *end as u8 == number)
    }

    /// The label in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Service => "service",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Stalled => "stalled",
            Self::Revoked => "revoked",
            Self::Withdrawn => "withdrawn",
            Self::Stale => "stale",
            Self::Misplaced => "misplaced",
            Self::Drain => "drain",
        }
    }

    /// The code of the close frame that both sides get (RFC 6455 section 7.4); `None` where one of them has had the last word,
    /// or does not listen.
    pub(super) const fn code(self) -> Option<u16> {
        match self {
            Self::Client | Self::Service | Self::Broken | Self::Stalled => None,
            Self::Idle | Self::Lifetime | Self::Drain => Some(1001),
            Self::Revoked | Self::Withdrawn => Some(1008),
            // Try again later: in the registry of RFC 6455 section 11.7.
            Self::Stale | Self::Misplaced => Some(1013),
        }
    }

    /// What a refusal for this reason would have been, for the record.
    pub(super) const fn problem(self) -> Option<ProblemKind> {
        match self {
            Self::Revoked => Some(ProblemKind::CredentialsInvalid),
            Self::Withdrawn => Some(ProblemKind::RouteForbidden),
            Self::Stale => Some(ProblemKind::AuthorityStale),
            Self::Misplaced => Some(ProblemKind::ResidencyMismatch),
            Self::Client | Self::Service | Self::Broken | Self::Idle | Self::Lifetime | Self::Stalled | Self::Drain => None,
        }
    }
}

/// What a node counted.
#[derive(Debug, Default)]
pub struct Tally {
    opened: AtomicU64,
    ended: [AtomicU64; End::ALL.len()],
}

/// A reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// WebSockets that were opened.
    pub opened: u64,
    /// Those that ended, in the order of [`End::ALL`].
    pub ended: [u64; End::ALL.len()],
}

impl Reading {
    /// Those that are open now.
    pub fn open(&self) -> u64 {
        self.opened.saturating_sub(self.ended.iter().sum())
    }
}

impl Tally {
    /// Counts one that was opened.
    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts its end.
    pub(super) fn ended(&self, end: End) {
        let place = End::ALL.iter().position(|known| *known == end);
        if let Some(count) = place.and_then(|place| self.ended.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted so far.
    pub fn read(&self) -> Reading {
        // The ends first: one that ends in between is open for this reading, and not less than nothing.
        let mut reading = Reading::default();
        for (seen, count) in reading.ended.iter_mut().zip(&self.ended) {
            *seen = count.load(Ordering::Relaxed);
        }
        reading.opened = self.opened.load(Ordering::Relaxed);
        reading
    }
}
