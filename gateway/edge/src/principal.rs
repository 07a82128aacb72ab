//! `Causeway-Principal`: the token that tells a service who calls (docs/principal.md).
//!
//! A service that does not ask for it costs one look. For one that does, the claims are written into a buffer that each core uses again
//! ([`claims`]), and a token that says the very same is given for ten seconds ([`kept`]); only then a key signs another ([`key`]).

mod claims;
mod kept;
pub mod key;

use std::fmt;

use http::{HeaderName, HeaderValue};
use model::{
    problem::{Denial, ProblemKind},
    structure::Upstream,
    time::{BootNanos, Now},
};
use parking_lot::Mutex;

use self::{
    claims::Claims,
    kept::Kept,
    key::{Keyring, SigningKey},
};
use crate::{authorize::Permit, runtime::Core};

/// The field. Whatever a client sends under this name has gone before (see [`crate::fields`]).
pub const PRINCIPAL: HeaderName = HeaderName::from_static("causeway-principal");

/// How long a token is good for, from its making.
const LIFE_SECONDS: i64 = 30;

/// The field for a service; `None` when it does not ask, or when nobody is known to call.
///
/// # Errors
/// `internal`, when the service asks and no token can be made: called without, it would take the caller for nobody.
pub fn field(core: &Core, permit: &Permit<'_>, upstream: &Upstream) -> Result<Option<HeaderValue>, Denial> {
    if permit.is_crossed() {
        return Ok(permit.vouched().cloned());
    }
    let (Some(audience), Some(principal)) = (&upstream.principal, permit.principal()) else { return Ok(None) };
    let claims = Claims::new(&core.edge.region, audience, principal, permit.snapshot().revisions.authority);
    core.principals.token(&claims, &core.edge.keyring, core.edge.clock.now()).map(Some)
}

/// One core's tokens.
#[derive(Default)]
pub struct Principals(Mutex<Desk>);

#[derive(Default)]
struct Desk {
    /// The claims of the request at hand, without what differs from token to token. Used again, so that a hit allocates nothing.
    text: Vec<u8>,
    kept: Kept,
}

/// What lies there names people, and lets its holder speak for them.
impl fmt::Debug for Principals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principals").finish_non_exhaustive()
    }
}

impl Principals {
    /// A token with these claims: one that is at most ten seconds old, or a new one.
    fn token(&self, claims: &Claims<'_>, keyring: &Keyring, now: Now) -> Result<HeaderValue, Denial> {
        let mut desk = self.0.lock();
        let Desk { text, kept } = &mut *desk;
        text.clear();
        claims.write(text).map_err(|_| cannot("the claims about a caller cannot be written"))?;
        if let Some(token) = kept.find(text, now.boot) {
            return Ok(token.clone());
        }
        let key = keyring.signing().ok_or_else(|| cannot("this node has no key to sign who calls"))?;
        let token = mint(key, text, now)?;
        kept.keep(text, token.clone(), now.boot);
        Ok(token)
    }

    /// Forgets what is too old to be given again.
    pub fn sweep(&self, now: BootNanos) {
        self.0.lock().kept.sweep(now);
    }
}

fn mint(key: &SigningKey, claims: &[u8], now: Now) -> Result<HeaderValue, Denial> {
    let issued_at = now.wall.0.div_euclid(1_000_000);
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| cannot("the random source failed"))?;
    let whole = claims::finish(claims, issued_at, issued_at.saturating_add(LIFE_SECONDS), random);
    let token = key.token(&whole).map_err(|_| cannot("the key that signs who calls failed"))?;
    let mut value = HeaderValue::try_from(token).map_err(|_| cannot("a token is no field value"))?;
    // It lets its holder speak for the caller: kept out of the tables of HTTP/2 (RFC 7541 section 7.1.3), and of logs.
    value.set_sensitive(true);
    Ok(value)
}

fn cannot(why: &'static str) -> Denial {
    tracing::error!("{why}");
    Denial::new(ProblemKind::Internal, "the gateway cannot tell the service who calls")
}

#[cfg(test)]
mod tests;
