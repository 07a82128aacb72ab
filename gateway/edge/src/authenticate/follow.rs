//! Callers that were verified before, and are let on without showing their proof again.
//!
//! Some proofs are good once: a proof of possession is spent by the request that it came with. So whoever follows from a request (a WebSocket
//! that stays open, a refresh behind a stored response) goes by whom the request was verified to come from, and not by its head.

use model::{
    identity::ImportedKeysDoc,
    problem::Denial,
    structure::{
        Route,
        identity::{Auth, Kinds, TokenRule},
    },
    time::Now,
};

use super::{Authenticated, Certified, KeyProof, Principal, Token, invalid, principal::again};
use crate::{route::Matched, runtime::Edge};

/// Lets on a request of the gateway's own that follows from a caller's, over what this node may still trust now.
///
/// # Errors
/// `authority-stale`, or `credentials-invalid` when the route takes no such caller any more, or what proved them does not hold any more.
pub fn follow<'s>(matched: Matched<'s>, before: Option<&Principal>, is_read: bool, edge: &Edge, now: Now) -> Result<Authenticated<'s>, Denial> {
    let (route, snapshot) = (matched.route(), matched.snapshot());
    if route.auth.is_none() {
        return Ok(Authenticated { matched, principal: None });
    }
    edge.lease.check(route.keys, is_read, snapshot, now)?;
    let before = before.filter(|before| is_taken(route, before)).ok_or_else(invalid)?;
    let (principal, _) = again(snapshot, before, &route.tenant, now).ok_or_else(invalid)?;
    Ok(Authenticated { matched, principal: Some(principal) })
}

/// Whether the route still takes what the caller came with: the same kinds of credentials, a key of another system only where such are taken,
/// a token by the same rules, a signature of the same signer by the same rules, and a certificate of the same authority. A token whose issuer or audience has changed would have to be verified again, and it is not kept.
pub fn is_taken(route: &Route, principal: &Principal) -> bool {
    let (key, token, certified, signed) = (principal.key(), principal.token(), principal.certified(), principal.signed());
    if route.imported_keys == ImportedKeysDoc::Refuse && key.is_some_and(KeyProof::is_foreign) {
        return false;
    }
    if matches!(route.auth, Auth::ApiKey) {
        return key.is_some() && token.is_none() && certified.is_none() && signed.is_none();
    }
    let kinds = Kinds { key: key.is_some(), token: token.is_some(), certificate: certified.is_some(), signature: signed.is_some() };
    let Some(way) = route.auth.way(kinds) else { return false };
    let is_same = |token: &Token, rule: &TokenRule| {
        let (before, after) = (&token.issuer, &rule.issuer);
        let is_issuers = before.name == after.name && before.holder == after.holder && before.keys.is_same(&after.keys);
        let is_bound_alike = before.certificate_bound == after.certificate_bound && before.dpop == after.dpop;
        is_issuers && is_bound_alike && token.rules == rule.rules
    };
    let is_token_taken = token.is_none_or(|token| way.token_rules().into_iter().flatten().any(|rule| is_same(token, rule)));
    let is_vouched_for = |certified: &Certified| way.authorities().into_iter().flatten().any(|known| known.name() == certified.authority.name());
    let is_signature_taken = signed.is_none_or(|signed| way.signature_rule().is_some_and(|rule| signed.is_taken(rule)));
    is_token_taken && is_signature_taken && certified.is_none_or(|certified| is_vouched_for(certified))
}

#[cfg(test)]
mod tests;
