//! A small request body that streams, kept on its way so that it can be sent once more.
//!
//! Nothing waits for it: calls of every kind stream as they come, and those whose messages turned out to be few and over can
//! be repeated. The pieces are shared with those that were sent; nothing is copied until a repetition needs it.

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use crate::body::RequestBody;

/// Larger bodies are not kept: they are sent once.
const BYTES_MAX: usize = 64 << 10;

/// What has passed of a body.
#[derive(Debug, Default)]
pub struct Replay(Mutex<State>);

#[derive(Debug)]
enum State {
    /// So far this.
    Running { pieces: Vec<Bytes>, bytes: usize },
    /// All of it.
    Whole(Vec<Bytes>),
    /// It was too large, or broke off, or had trailers.
    Lost,
}

impl Default for State {
    fn default() -> Self {
        Self::Running { pieces: Vec::new(), bytes: 0 }
    }
}

impl Replay {
    /// Keeps a piece.
    pub fn piece(&self, piece: &Bytes) {
        let mut state = self.0.lock();
        if let State::Running { pieces, bytes } = &mut *state {
            *bytes = bytes.saturating_add(piece.len());
            if *bytes <= BYTES_MAX {
                pieces.push(piece.clone());
            } else {
                *state = State::Lost;
            }
        }
    }

    /// Notes that the body was sent whole.
    pub fn end(&self) {
        let mut state = self.0.lock();
        if let State::Running { pieces, .. } = &mut *state {
            *state = State::Whole(std::mem::take(pieces));
        }
    }

    /// Notes that it cannot be sent again.
    pub fn lose(&self) {
        *self.0.lock() = State::Lost;
    }

    /// The body, if all of it was kept.
    pub fn whole(&self) -> Option<RequestBody> {
        let state = self.0.lock();
        let State::Whole(pieces) = &*state else { return None };
        let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
        for piece in pieces {
            whole.extend_from_slice(piece);
        }
        Some(RequestBody::Whole(Some(whole.freeze())))
    }
}
