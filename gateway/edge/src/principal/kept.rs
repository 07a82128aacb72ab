//! Tokens that may be given again.

use std::collections::HashMap;

use http::HeaderValue;
use model::time::BootNanos;

/// How long a token is given again: it has 20 seconds left then, for the service and for clocks that differ.
const KEPT_NANOS: u64 = 10_000_000_000;
/// Tokens of one core, in two halves.
pub(super) const TOKENS_MAX: usize = 4_096;
/// Their bytes, in two halves: a token of an issuer can carry 8 KiB of scopes.
pub(super) const BYTES_MAX: usize = 16 << 20;

/// Tokens by the whole text of their claims.
///
/// A text that differs anywhere is another caller's or another service's, so texts are compared and not their hashes. Subjects are
/// chosen by others: the standard hasher keeps them from being chosen to collide.
#[derive(Default)]
pub(super) struct Kept {
    young: Half,
    /// What was young until the last turn. Dropping it whole costs less than looking for what is too old.
    old: Half,
    /// When `young` was begun, if it ever was.
    began: Option<BootNanos>,
}

#[derive(Default)]
struct Half {
    tokens: HashMap<Box<[u8]>, Token>,
    bytes: usize,
}

struct Token {
    value: HeaderValue,
    made: BootNanos,
}

impl Kept {
    /// The token with these claims, if it is young enough.
    pub(super) fn find(&self, claims: &[u8], now: BootNanos) -> Option<&HeaderValue> {
        // A newer one is among the young.
        let token = self.young.tokens.get(claims).or_else(|| self.old.tokens.get(claims))?;
        (now.nanos_since(token.made) < KEPT_NANOS).then_some(&token.value)
    }

    /// Keeps a token that was made now.
    pub(super) fn keep(&mut self, claims: &[u8], value: HeaderValue, now: BootNanos) {
        let bytes = claims.len() + value.len();
        let is_full = self.young.tokens.len() >= TOKENS_MAX / 2 || self.young.bytes + bytes > BYTES_MAX / 2;
        if is_full || self.is_due(now) {
            self.turn(now);
        }
        self.young.bytes += bytes;
        self.young.tokens.insert(claims.into(), Token { value, made: now });
    }

    /// Drops what is too old, though nothing new comes.
    pub(super) fn sweep(&mut self, now: BootNanos) {
        let is_empty = self.young.tokens.is_empty() && self.old.tokens.is_empty();
        if !is_empty && self.is_due(now) {
            self.turn(now);
        }
    }

    fn is_due(&self, now: BootNanos) -> bool {
        self.began.is_none_or(|began| now.nanos_since(began) >= KEPT_NANOS)
    }

    fn turn(&mut self, now: BootNanos) {
        self.old = std::mem::take(&mut self.young);
        self.began = Some(now);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.tokens.len() + self.old.tokens.len()
    }
}

#[cfg(test)]
mod tests;
