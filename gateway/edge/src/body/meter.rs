//! What a request's body has done so far.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use super::BodyError;
use crate::grpc::stream::CallState;

/// What a request's body did, for the record and for the pool; shared with the exchange that sends it.
#[derive(Debug, Default)]
pub struct Meter {
    pub(super) bytes: AtomicU64,
    state: AtomicU8,
    pub(super) is_waiting_for_client: AtomicBool,
    /// The response to a call of gRPC.
    pub(super) call: CallState,
}

/// How a body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is not over.
    Running,
    /// It was sent whole.
    Complete,
    /// It was cut.
    Failed(BodyError),
}

impl Meter {
    /// Bytes that have passed.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// True while the next piece was asked for and has not come: the client is late, not the service.
    pub fn is_waiting_for_client(&self) -> bool {
        self.is_waiting_for_client.load(Ordering::Relaxed)
    }

    /// How the body stands.
    pub fn progress(&self) -> Progress {
        match self.state.load(Ordering::Acquire) {
            1 => Progress::Complete,
            2 => Progress::Failed(BodyError::TooLarge),
            3 => Progress::Failed(BodyError::Stalled),
            4 => Progress::Failed(BodyError::Broken),
            _ => Progress::Running,
        }
    }

    /// Notes a body that was at hand from the start.
    pub fn complete_at_once(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.set(Progress::Complete);
    }

    /// The response to a call of gRPC: its request goes on for as long as it does, and no longer.
    pub(crate) const fn call(&self) -> &CallState {
        &self.call
    }

    pub(super) fn set(&self, progress: Progress) {
        let state = match progress {
            Progress::Running => 0,
            Progress::Complete => 1,
            Progress::Failed(BodyError::TooLarge) => 2,
            Progress::Failed(BodyError::Stalled) => 3,
            Progress::Failed(BodyError::Broken) => 4,
        };
        self.state.store(state, Ordering::Release);
    }
}
