//! Reads what a request carries to prove who sends it, and finds the way of the route that takes it.

use http::{HeaderMap, HeaderName, header};
use model::{
    access_token,
    problem::{Challenge, Denial, ProblemKind},
    signature::field,
    structure::identity::{Kinds, Way},
};

use super::certificate::{Judge, Judged};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const DPOP: HeaderName = HeaderName::from_static("dpop");
/// What every key begins with; no token of an issuer does, because `{"` in base64url begins with `ey`.
const KEY_MARK: &str = "cw_";

/// The refusal of a key, whatever is wrong with it.
pub(super) fn invalid_key() -> Denial {
    Denial::new(ProblemKind::CredentialsInvalid, "the key is not accepted; check that it is complete, not expired and not revoked")
}

fn ambiguous() -> Denial {
    Denial::new(ProblemKind::CredentialsInvalid, "the request carries more credentials than one of a kind, or one that cannot be read")
}

fn missing(what: &'static str) -> Denial {
    Denial::new(ProblemKind::CredentialsMissing, what)
}

/// The one credential of a request on a route that takes keys alone.
///
/// # Errors
/// `credentials-missing`, `credentials-invalid`.
pub(super) fn only_key(headers: &HeaderMap) -> Result<&str, Denial> {
    let mut keys = headers.get_all(API_KEY).iter();
    let mut bearers = headers.get_all(header::AUTHORIZATION).iter();
    let text = match (keys.next(), bearers.next()) {
        (Some(key), None) => key.to_str().ok(),
        (None, Some(field)) => field.to_str().ok().and_then(bearer),
        (None, None) => return Err(missing(SEND_A_KEY)),
        // Two credentials could be two callers.
        (Some(_), Some(_)) => None,
    };
    if keys.next().is_some() || bearers.next().is_some() {
        return Err(invalid_key());
    }
    text.ok_or_else(invalid_key)
}

/// The credentials of RFC 6750 section 2.1.
fn bearer(field: &str) -> Option<&str> {
    let (scheme, token) = field.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// How a token came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme<'h> {
    /// By itself (RFC 6750 section 2.1).
    Bearer,
    /// With a proof of possession (RFC 9449 section 7.1), unless that is missing.
    Dpop(Option<&'h str>),
}

/// The scheme and the rest of an `Authorization` field.
fn token(field: &str) -> Option<(bool, &str)> {
    let (scheme, token) = field.split_once(' ')?;
    let is_dpop = scheme.eq_ignore_ascii_case("dpop");
    (is_dpop || scheme.eq_ignore_ascii_case("bearer")).then(|| (is_dpop, token.trim()))
}

/// Whether a request tries to prove that it holds a key.
pub(super) fn is_dpop(headers: &HeaderMap) -> bool {
    let field = headers.get(header::AUTHORIZATION).and_then(|field| field.to_str().ok());
    field.and_then(token).is_some_and(|(is_dpop, _)| is_dpop)
}

/// What a request carries, one of each kind at most.
#[derive(Debug, Default)]
pub(super) struct Credentials<'h> {
    pub(super) key: Option<&'h str>,
    pub(super) token: Option<(&'h str, Scheme<'h>)>,
    /// There is a signature of some kind, and the route takes signatures. Elsewhere they are for the service, or for nobody.
    pub(super) signature: bool,
}

/// The way that a request goes, and what its client's certificate proves on it.
#[derive(Debug)]
pub(super) struct Chosen<'w, P> {
    pub(super) way: &'w Way,
    pub(super) certificate: Option<P>,
}

impl<'h> Credentials<'h> {
    /// Reads them.
    ///
    /// # Errors
    /// `credentials-invalid` when there are two of a kind, or one that is neither a key nor a token.
    pub(super) fn read(headers: &'h HeaderMap, ways: &[Way]) -> Result<Self, Denial> {
        let mut out = Self { signature: ways.iter().any(|way| way.kinds().signature) && field::is_carried(headers), ..Self::default() };
        for field in headers.get_all(API_KEY) {
            let text = field.to_str().map_err(|_| ambiguous())?;
            if out.key.replace(text).is_some() {
                return Err(ambiguous());
            }
        }
        // One field alone: where the token goes on to the service, a key beside it would go along.
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        if let Some(field) = fields.next() {
            let (is_dpop, text) = field.to_str().ok().and_then(token).ok_or_else(ambiguous)?;
            // A token of the gateway's own stands for a key.
            let is_key = text.starts_with(KEY_MARK) || access_token::is_own(text);
            let is_twice = match (is_key, is_dpop) {
                (true, true) => return Err(ambiguous()),
                (true, false) => out.key.replace(text).is_some(),
                (false, is_dpop) => out.token.replace((text, if is_dpop { proof(headers)? } else { Scheme::Bearer })).is_some(),
            };
            if is_twice || fields.next().is_some() {
                return Err(ambiguous());
            }
        }
        Ok(out)
    }

    fn kinds(&self) -> Kinds {
        Kinds { key: self.key.is_some(), token: self.token.is_some(), certificate: false, signature: self.signature }
    }

    /// The way that asks for exactly these. A certificate belongs to the connection, so it may be there for another route: a way that
    /// asks for one goes first where the certificate holds, and one that does not goes before a refusal.
    ///
    /// # Errors
    /// `credentials-missing` when something is missing, `credentials-invalid` when there is more than any way asks for: a credential
    /// that nobody looks at could be somebody else's. For a certificate that is missing or not accepted, see [`Judge::refuse`].
    pub(super) fn choose<'w, J: Judge>(&self, ways: &'w [Way], judge: &J) -> Result<Chosen<'w, J::Proof>, Denial> {
        let carried = self.kinds();
        let way = |kinds: Kinds| ways.iter().find(|way| way.kinds() == kinds);
        let by_certificate = way(Kinds { certificate: true, ..carried });
        let judged = by_certificate.and_then(Way::authorities).map(|authorities| judge.judge(authorities)).transpose()?;
        match (by_certificate, judged, way(carried)) {
            (Some(way), Some(Judged::Holds(proof)), _) => Ok(Chosen { way, certificate: Some(proof) }),
            (_, _, Some(way)) => Ok(Chosen { way, certificate: None }),
            (_, Some(Judged::Nothing), None) if ways.len() > 1 && carried == Kinds::default() => Err(missing(SEND_OR_CONNECT)),
            (_, Some(other), None) => Err(judge.refuse(&other)),
            (_, None, None) => Err(lacking(ways, carried)),
        }
    }
}

/// The one proof of a request (RFC 9449 section 4.3, check 1). Beside a bearer token there may be any: nobody looks at them.
fn proof(headers: &HeaderMap) -> Result<Scheme<'_>, Denial> {
    let mut fields = headers.get_all(DPOP).iter();
    let first = fields.next();
    if fields.next().is_some() {
        return Err(ambiguous().challenging(Challenge::DpopProof));
    }
    Ok(Scheme::Dpop(first.and_then(|field| field.to_str().ok())))
}

const SEND_A_KEY: &str = "send an API key in the X-Api-Key header, or as Authorization: Bearer";
const SIGN: &str = "sign the request: send Signature-Input and Signature (RFC 9421), and what else this route asks for";
const SEND_ONE_OF: &str = "send one of the credentials that this route takes, or sign the request";
const SEND_OR_CONNECT: &str = "send one of the credentials that this route takes, or connect with a client certificate";

/// What to do, said by what is carried and by what the nearest way asks for.
fn lacking(ways: &[Way], carried: Kinds) -> Denial {
    let could_be = |way: &&Way| {
        let kinds = way.kinds();
        (kinds.key || !carried.key) && (kinds.token || !carried.token) && (kinds.signature || !carried.signature)
    };
    let Some(nearest) = ways.iter().find(could_be).map(Way::kinds) else {
        return Denial::new(ProblemKind::CredentialsInvalid, "the route does not take this kind of credential, or not this one beside the other");
    };
    let several = "send one of the credentials that this route takes: an API key in X-Api-Key, or a token as Authorization: Bearer";
    if !carried.signature && ways.iter().any(|way| way.kinds().signature) {
        return missing(if ways.len() > 1 { SEND_ONE_OF } else { SIGN });
    }
    missing(match (carried.key, carried.token) {
        _ if carried.signature => "the signature alone is not enough here: send the other credentials that this route asks for, too",

        (_, true) if nearest.key => "the token alone is not enough here: send an API key in X-Api-Key, too",
        (true, _) => "the key alone is not enough here: send a token as Authorization: Bearer, too",
        _ if ways.len() > 1 => several,
        _ => match (nearest.key, nearest.token) {
            (true, false) => SEND_A_KEY,
            (true, true) => "send an API key in X-Api-Key, and a token as Authorization: Bearer",
            (false, _) => "send a token as Authorization: Bearer",
        },
    })
}

#[cfg(test)]
mod tests;
