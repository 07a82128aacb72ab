//! What a route asks of signatures.

use super::{Fault, digest, field::Input, key::Algorithm};
use crate::time::UtcMicros;

/// How far ahead of ours a signer's clock may be.
pub const AHEAD_SECONDS_MAX: i64 = 5;
/// The longest that a signature may be taken for: as long as nonces are remembered.
pub const AGE_SECONDS_MAX: i64 = 300;
/// What every signature covers: without one of them, a signature for one request would be good for another.
pub const ALWAYS: [&str; 4] = ["@method", "@authority", "@path", "@query"];

/// A UUID has 36 bytes, 96 random bits in base64url 16.
const NONCE_BYTES: std::ops::RangeInclusive<usize> = 1..=128;

/// Whether a request has content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// It has, or may have.
    Present,
    /// It has none.
    Absent,
}

/// Whether something must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It must.
    Required,
    /// It need not. It is looked at where it is there.
    Optional,
}

/// What a route asks of signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What they cover beside what they always do.
    pub components: Box<[Box<str>]>,
    /// How long ago they may have been made.
    pub age_seconds_max: i64,
    /// Whether they cover the digest of the content, where there is content.
    pub digest: Need,
    /// Whether they have a nonce.
    pub nonce: Need,
    /// What they are for. Signatures with another `tag`, or with any where this is `None`, are for somebody else.
    pub tag: Option<Box<str>>,
}

impl Rules {
    /// Holds what a signature says about itself against the rules.
    ///
    /// # Errors
    /// [`Fault`], but none about the signature itself.
    pub(super) fn check(&self, input: &Input<'_>, algorithm: Algorithm, content: Content, now: UtcMicros) -> Result<(), Fault> {
        if input.is_odd() {
            return Err(Fault::ParameterRefused);
        }
        if input.algorithm().is_some_and(|named| named != algorithm.name()) {
            return Err(Fault::AlgorithmWrong);
        }
        if input.tag() != self.tag.as_deref() {
            return Err(Fault::TagWrong);
        }
        self.check_dates(input, now)?;
        match input.nonce() {
            None if self.nonce == Need::Required => return Err(Fault::NonceMissing),
            Some(nonce) if !NONCE_BYTES.contains(&nonce.len()) => return Err(Fault::NonceInvalid),
            None | Some(_) => {}
        }
        if !self.wanted().all(|name| is_covered(input, name)) {
            return Err(Fault::NotCovered);
        }
        if self.digest == Need::Required && content == Content::Present && !input.covers(digest::NAME) {
            return Err(Fault::DigestMissing);
        }
        Ok(())
    }

    /// What a signature covers, whatever the content.
    pub fn wanted(&self) -> impl Iterator<Item = &str> {
        ALWAYS.into_iter().chain(self.components.iter().map(|name| &**name))
    }

    fn check_dates(&self, input: &Input<'_>, now: UtcMicros) -> Result<(), Fault> {
        let now = now.0.div_euclid(1_000_000);
        let created = input.created().ok_or(Fault::DateWrong)?;
        if created < now.saturating_sub(self.age_seconds_max) || created > now.saturating_add(AHEAD_SECONDS_MAX) {
            return Err(Fault::DateWrong);
        }
        if input.expires().is_some_and(|end| end <= now) { Err(Fault::Expired) } else { Ok(()) }
    }
}

/// Whether a component is covered by its name, or as part of another one.
fn is_covered(input: &Input<'_>, name: &str) -> bool {
    let wider: &[&str] = match name {
        "@path" | "@query" => &["@request-target", "@target-uri"],
        "@authority" | "@scheme" | "@request-target" => &["@target-uri"],
        _ => &[],
    };
    input.covers(name) || wider.iter().any(|wider| input.covers(wider))
}
