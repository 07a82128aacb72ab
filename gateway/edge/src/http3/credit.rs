//! Bounds what a client can make a connection do without asking for anything, and how often it may ask and hang up: what
//! [`crate::calm`] is for HTTP/2. QUIC bounds streams and windows by itself; frames that move nothing and requests that are
//! given up at once it does not (RFC 9114 section 10.5, CVE-2023-44487).

use std::sync::Arc;

use parking_lot::Mutex;

use crate::watch::Tick;

/// Frames that move nothing: those of a new connection, and the most that is kept.
const FRAMES_MAX: u32 = 5_000;
/// Given back each second.
const FRAMES_PER_SECOND: u32 = 1_000;
/// Requests given up before their answer was whole. A browser that leaves a page gives up all that it has open: 128 at most,
/// and a person does not do that twice a second.
const RESETS_MAX: u32 = 300;
/// Given back each second; each answer that a client takes whole gives one back, too.
const RESETS_PER_SECOND: u32 = 30;

/// What one connection may still do.
#[derive(Debug)]
pub(super) struct Credit {
    tick: Arc<Tick>,
    left: Mutex<Left>,
}

#[derive(Debug)]
struct Left {
    frames: u32,
    resets: u32,
    second: u64,
}

impl Credit {
    /// The credit of a new connection.
    pub(super) fn new(tick: &Arc<Tick>) -> Self {
        let left = Left { frames: FRAMES_MAX, resets: RESETS_MAX, second: tick.seconds() };
        Self { tick: Arc::clone(tick), left: Mutex::new(left) }
    }

    /// Charges a frame that moves nothing; false when it is one too many.
    pub(super) fn frame(&self) -> bool {
        let mut left = self.left.lock();
        left.earn(self.tick.seconds());
        left.frames.checked_sub(1).is_some_and(|frames| {
            left.frames = frames;
            true
        })
    }

    /// Charges a request that was given up; false when it is one too many.
    pub(super) fn reset(&self) -> bool {
        let mut left = self.left.lock();
        left.earn(self.tick.seconds());
        left.resets.checked_sub(1).is_some_and(|resets| {
            left.resets = resets;
            true
        })
    }

    /// Notes an answer that was taken whole.
    pub(super) fn answered(&self) {
        let mut left = self.left.lock();
        left.resets = (left.resets + 1).min(RESETS_MAX);
    }
}

impl Left {
    fn earn(&mut self, second: u64) {
        let passed = u32::try_from(second.saturating_sub(self.second)).unwrap_or(u32::MAX);
        if passed > 0 {
            self.second = second;
            self.frames = self.frames.saturating_add(passed.saturating_mul(FRAMES_PER_SECOND)).min(FRAMES_MAX);
            self.resets = self.resets.saturating_add(passed.saturating_mul(RESETS_PER_SECOND)).min(RESETS_MAX);
        }
    }
}

#[cfg(test)]
mod tests;
