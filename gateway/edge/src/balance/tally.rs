//! What the room counts: rare events, shared by all cores.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An endpoint rests because of gateway failures in a row.
    RestGatewayFailures,
    /// An endpoint rests because of server errors in a row.
    RestServerErrors,
    /// An endpoint rests because too few of its answers were good.
    RestSuccessRate,
    /// A check took an endpoint out.
    CheckOut,
    /// A check brought an endpoint back.
    CheckBack,
    /// All endpoints were tried as if they were well, because too few were.
    Panic,
    /// A breaker opened.
    BreakerOpened,
    /// A breaker refused a request.
    BreakerRefused,
    /// A retry after a connection that could not be made.
    RetryConnect,
    /// A retry after a connection that ended.
    RetryReset,
    /// A retry after a deadline.
    RetryTimeout,
    /// A retry after a status.
    RetryStatus,
    /// A retry that the budget refused.
    RetryRefused,
    /// A request waited because every endpoint was at its cap.
    Queued,
    /// A request was refused because the queue was full or too slow.
    QueueRefused,
    /// A name could not be looked up.
    NameFailed,
    /// The addresses of a name changed.
    NameChanged,
    /// A copy was answered.
    MirrorSent,
    /// A copy was not answered.
    MirrorFailed,
    /// A copy was dropped because the queue was full.
    MirrorDropped,
    /// No copy was made because the request's body streamed.
    MirrorStreamed,
}

impl Event {
    /// Every event, in the order of the counters.
    pub const ALL: [Self; 21] = [
        Self::RestGatewayFailures,
        Self::RestServerErrors,
        Self::RestSuccessRate,
        Self::CheckOut,
        Self::CheckBack,
        Self::Panic,
        Self::BreakerOpened,
        Self::BreakerRefused,
        Self::RetryConnect,
        Self::RetryReset,
        Self::RetryTimeout,
        Self::RetryStatus,
        Self::RetryRefused,
        Self::Queued,
        Self::QueueRefused,
        Self::NameFailed,
        Self::NameChanged,
        Self::MirrorSent,
        Self::MirrorFailed,
        Self::MirrorDropped,
        Self::MirrorStreamed,
    ];
}

/// Counters of all events.
#[derive(Debug, Default)]
pub struct Tally([AtomicU64; Event::ALL.len()]);

impl Tally {
    /// Counts one.
    pub fn count(&self, event: Event) {
        if let Some(counter) = self.0.get(event as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often it happened.
    pub fn read(&self, event: Event) -> u64 {
        self.0.get(event as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}
