//! Finds out who calls; the only constructor of [`Authenticated`].
//!
//! An API key is looked up, a token is verified ([`token`]); what kinds a request carries decides which of the route's ways it goes.

mod credential;
mod key;
mod principal;
mod token;

use model::{
    key::{KeyId, Presented, Purpose},
    problem::{Denial, ProblemKind},
    structure::identity::{Auth, Way},
    time::Now,
};

use self::credential::Credentials;
pub use self::principal::{KeyProof, Principal, Proof, Token, again, is_still_valid};
use crate::{head::Head, route::Matched, runtime::Edge};

/// A matched request whose caller is known, or whose route asks for none.
#[derive(Debug)]
pub struct Authenticated<'s> {
    matched: Matched<'s>,
    principal: Option<Principal>,
}

impl<'s> Authenticated<'s> {
    /// Who calls; `None` on routes without authentication.
    pub const fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// The parts, for the next stage.
    pub fn into_parts(self) -> (Matched<'s>, Option<Principal>) {
        (self.matched, self.principal)
    }
}

/// Verifies the credentials that the route asks for, over what this node may still trust.
///
/// # Errors
/// `authority-stale`, `issuer-unreachable`, `credentials-missing`, or one uniform `credentials-invalid`: a caller cannot tell an unknown
/// key from a revoked, expired or foreign one, nor what is wrong with a token. `seen` receives the key id of a well-formed key for the
/// record, valid or not.
///
/// # Cancel
/// Loses nothing. It waits for a token alone whose key is not known yet, at most some seconds.
pub async fn verify<'s>(matched: Matched<'s>, head: &Head, edge: &Edge, now: Now, seen: &mut Option<KeyId>) -> Result<Authenticated<'s>, Denial> {
    let principal = match &matched.route().auth {
        Auth::None => None,
        Auth::ApiKey => {
            let presented = presented(credential::only_key(&head.parts.headers)?)?;
            *seen = Some(presented.id);
            edge.lease.check(matched.route().keys, head.is_read(), matched.snapshot(), now)?;
            let proof = key::verify(matched.snapshot(), &presented, edge, now);
            let principal = proof.and_then(|proof| principal::of(matched.snapshot(), Proof::Key(proof), None, now));
            Some(principal.filter(|principal| principal.consumer.tenant == matched.route().tenant).ok_or_else(credential::invalid_key)?)
        }
        // Boxed, because it may wait and the usual way never does.
        Auth::Ways(ways) => Some(Box::pin(several(&matched, ways, head, edge, now, seen)).await?),
    };
    Ok(Authenticated { matched, principal })
}

fn presented(text: &str) -> Result<Presented<'_>, Denial> {
    Presented::parse(text).filter(|key| key.purpose != Purpose::Operator).ok_or_else(credential::invalid_key)
}

async fn several(matched: &Matched<'_>, ways: &[Way], head: &Head, edge: &Edge, now: Now, seen: &mut Option<KeyId>) -> Result<Principal, Denial> {
    let credentials = Credentials::read(&head.parts.headers)?;
    let way = credentials.choose(ways)?;
    let (route, snapshot) = (matched.route(), matched.snapshot());
    let presented = credentials.key.map(presented).transpose()?;
    *seen = presented.as_ref().map(|presented| presented.id);
    edge.lease.check(route.keys, head.is_read(), snapshot, now)?;
    let key = presented.map(|presented| key::verify(snapshot, &presented, edge, now).ok_or_else(credential::invalid_key)).transpose()?;
    let token = match (credentials.token, &way.token) {
        (Some(text), Some(rules)) => Some(token::verify(rules, text, route, snapshot, edge, head.is_read(), now).await?),
        _ => None,
    };
    let mut proofs = [key.map(Proof::Key), token.map(Proof::Token)];
    if way.is_token_first {
        proofs.reverse();
    }
    let mut proofs = proofs.into_iter().flatten();
    let principal = proofs.next().and_then(|first| principal::of(snapshot, first, proofs.next(), now));
    principal.filter(|principal| principal.consumer.tenant == route.tenant).ok_or_else(|| match (way.key, &way.token) {
        (true, None) => credential::invalid_key(),
        (false, _) => token::invalid(),
        (true, Some(_)) => invalid(),
    })
}

/// The refusal where it is not said which of several credentials is at fault.
fn invalid() -> Denial {
    Denial::new(ProblemKind::CredentialsInvalid, "the credentials are not accepted here; check that they are complete, valid and for this host")
}
