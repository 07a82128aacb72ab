//! Finds out who calls; the only place that makes an [`Authenticated`].
//!
//! An API key is looked up, a token is verified ([`token`]); what kinds a request carries decides which of the route's ways it goes.

mod binding;
mod certificate;
mod credential;
mod follow;
mod foreign;
mod key;
mod principal;
mod replay;
mod signature;
mod token;
mod verdict;

use std::net::IpAddr;

use model::{
    key::KeyId,
    problem::{Challenge, Denial, ProblemKind},
    signature::rule::Content,
    structure::identity::{Auth, Credential, Way},
    time::Now,
};

use self::{certificate::Here, credential::Credentials, key::Offered};
pub use self::{
    certificate::{Certified, not_asked},
    follow::{follow, is_taken},
    principal::{KeyProof, Principal, Proof, Token, again, is_still_valid},
    replay::Replays,
    signature::{Signatures, Signed},
    verdict::Verdicts,
};
use crate::{certificate::Shown, head::Head, route::Matched, runtime::Edge};

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

/// What comes with a request to prove who sends it.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'h> {
    /// Its head, with a key or a token.
    pub head: &'h Head,
    /// Where it comes from.
    pub address: IpAddr,
    /// What the connection's handshake showed.
    pub shown: &'h Shown,
    /// Whether content comes behind it.
    pub content: Content,
}

/// Verifies the credentials that the route asks for, over what this node may still trust.
///
/// # Errors
/// `authority-stale`, `issuer-unreachable`, `certificate-not-asked`, `credentials-missing`, `overloaded`, or one uniform `credentials-invalid`: a caller cannot tell an unknown
/// key from a revoked, expired or foreign one, nor what is wrong with a token. `seen` receives the key id of a well-formed key for the
/// record, valid or not.
///
/// # Cancel
/// Loses nothing. It waits for a token alone whose key is not known yet, and for a key of another system that is verified for the first time;
/// at most some seconds.
pub async fn verify<'s>(
    matched: Matched<'s>,
    offer: Offer<'_>,
    edge: &Edge,
    now: Now,
    seen: &mut Option<KeyId>,
) -> Result<Authenticated<'s>, Denial> {
    let head = offer.head;
    let principal = match &matched.route().auth {
        Auth::None => None,
        Auth::ApiKey => {
            let offered = Offered::read(credential::only_key(&head.parts.headers)?, matched.route(), edge, now)?;
            *seen = offered.id();
            edge.lease.check(matched.route().keys, head.is_read(), matched.snapshot(), now)?;
            let mut proof = offered.verify(matched.snapshot(), edge, now, seen);
            if proof.is_none() && offered.may_wait() {
                proof = Box::pin(offered.prove(&matched, offer.address, edge, now, seen)).await?;
            }
            let principal = proof.and_then(|proof| principal::of(matched.snapshot(), Proof::Key(proof), Vec::new(), now));
            Some(principal.filter(|principal| principal.consumer.tenant == matched.route().tenant).ok_or_else(credential::invalid_key)?)
        }
        // Boxed, because it may wait and the usual way never does.
        auth @ Auth::Ways(ways) => {
            let outcome = Box::pin(several(&matched, ways, offer, edge, now, seen)).await;
            Some(outcome.map_err(|denial| challenged(denial, auth, head))?)
        }
    };
    Ok(Authenticated { matched, principal })
}

/// Says how to ask for what the route takes.
fn challenged(denial: Denial, auth: &Auth, head: &Head) -> Denial {
    if !auth.takes_dpop() {
        return denial.challenging(Challenge::Bearer);
    }
    let is_missing = denial.kind == ProblemKind::CredentialsMissing;
    match (denial.challenge, credential::is_dpop(&head.parts.headers)) {
        (Challenge::DpopProof, true) => denial,
        (_, true) if !is_missing => denial.challenging(Challenge::DpopToken),
        (_, true | false) => denial.challenging(Challenge::BearerOrDpop),
    }
}

async fn several(
    matched: &Matched<'_>,
    ways: &[Way],
    offer: Offer<'_>,
    edge: &Edge,
    now: Now,
    seen: &mut Option<KeyId>,
) -> Result<Principal, Denial> {
    let (route, snapshot, is_read) = (matched.route(), matched.snapshot(), offer.head.is_read());
    let credentials = Credentials::read(&offer.head.parts.headers, ways)?;
    let offered = credentials.key.map(|text| Offered::read(text, route, edge, now)).transpose()?;
    *seen = offered.as_ref().and_then(Offered::id);
    let chosen = credentials.choose(ways, &Here { shown: offer.shown, matched, edge, is_read, now })?;
    edge.lease.check(route.keys, is_read, snapshot, now)?;
    let mut proofs = Vec::with_capacity(chosen.way.0.len());
    let mut certificate = chosen.certificate;
    for credential in &chosen.way.0 {
        proofs.push(match credential {
            Credential::Key => {
                let offered = offered.as_ref().ok_or_else(credential::invalid_key)?;
                let mut proof = offered.verify(snapshot, edge, now, seen);
                if proof.is_none() && offered.may_wait() {
                    proof = offered.prove(matched, offer.address, edge, now, seen).await?;
                }
                Proof::Key(proof.ok_or_else(credential::invalid_key)?)
            }
            Credential::Token(rules) => {
                let (text, scheme) = credentials.token.ok_or_else(token::invalid)?;
                let request = token::Request { text, scheme, head: offer.head, shown: offer.shown };
                Proof::Token(token::verify(rules, request, route, snapshot, edge, now).await?)
            }
            Credential::Certificate(_) => Proof::Certificate(certificate.take().ok_or_else(invalid)?),
            Credential::Signature(rule) => Proof::Signature(edge.signatures.verify(rule, offer.head, offer.content, matched, now)?),
        });
    }
    let mut proofs = proofs.into_iter();
    let principal = proofs.next().and_then(|first| principal::of(snapshot, first, proofs.collect(), now));
    principal.filter(|principal| principal.consumer.tenant == route.tenant).ok_or_else(|| match &*chosen.way.0 {
        [Credential::Key] => credential::invalid_key(),
        [Credential::Token(_)] => token::invalid(),
        _ => invalid(),
    })
}

/// The refusal where it is not said which of several credentials is at fault.
fn invalid() -> Denial {
    Denial::new(ProblemKind::CredentialsInvalid, "the credentials are not accepted here; check that they are complete, valid and for this host")
}
