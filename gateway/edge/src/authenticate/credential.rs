//! Reads what a request carries to prove who sends it.

use http::{HeaderMap, HeaderName, header};
use model::{
    problem::{Denial, ProblemKind},
    structure::identity::Way,
};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// What every key begins with; no token does, because `{"` in base64url begins with `ey`.
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
        (None, None) => return Err(missing("send an API key in the X-Api-Key header, or as Authorization: Bearer")),
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

/// What a request carries, one of each kind at most.
#[derive(Debug, Default)]
pub(super) struct Credentials<'h> {
    pub(super) key: Option<&'h str>,
    pub(super) token: Option<&'h str>,
}

impl<'h> Credentials<'h> {
    /// Reads them.
    ///
    /// # Errors
    /// `credentials-invalid` when there are two of a kind, or one that is neither a key nor a bearer token.
    pub(super) fn read(headers: &'h HeaderMap) -> Result<Self, Denial> {
        let mut out = Self::default();
        for field in headers.get_all(API_KEY) {
            let text = field.to_str().map_err(|_| ambiguous())?;
            if out.key.replace(text).is_some() {
                return Err(ambiguous());
            }
        }
        // One field alone: where the token goes on to the service, a key beside it would go along.
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        if let Some(field) = fields.next() {
            let text = field.to_str().ok().and_then(bearer).ok_or_else(ambiguous)?;
            let place = if text.starts_with(KEY_MARK) { &mut out.key } else { &mut out.token };
            if place.replace(text).is_some() || fields.next().is_some() {
                return Err(ambiguous());
            }
        }
        Ok(out)
    }

    /// The way that asks for exactly these.
    ///
    /// # Errors
    /// `credentials-missing` when something is missing, `credentials-invalid` when there is more than any way asks for: a credential
    /// that nobody looks at could be somebody else's.
    pub(super) fn choose<'w>(&self, ways: &'w [Way]) -> Result<&'w Way, Denial> {
        let (has_key, has_token) = (self.key.is_some(), self.token.is_some());
        if let Some(way) = ways.iter().find(|way| way.key == has_key && way.token.is_some() == has_token) {
            return Ok(way);
        }
        let could_be = |way: &&Way| (way.key || !has_key) && (way.token.is_some() || !has_token);
        Err(match ways.iter().find(could_be) {
            Some(way) if has_token && way.key => missing("the token alone is not enough here: send an API key in X-Api-Key, too"),
            Some(_) if has_key => missing("the key alone is not enough here: send a token as Authorization: Bearer, too"),
            Some(Way { key: true, token: None, .. }) if ways.len() == 1 => {
                missing("send an API key in the X-Api-Key header, or as Authorization: Bearer")
            }
            Some(Way { key: false, .. }) if ways.len() == 1 => missing("send a token as Authorization: Bearer"),
            Some(Way { key: true, token: Some(_), .. }) if ways.len() == 1 => {
                missing("send an API key in X-Api-Key, and a token as Authorization: Bearer")
            }
            Some(_) => missing("send one of the credentials that this route takes: an API key in X-Api-Key, or a token as Authorization: Bearer"),
            None => Denial::new(ProblemKind::CredentialsInvalid, "the route does not take this kind of credential, or not this one beside the other"),
        })
    }
}

#[cfg(test)]
mod tests;
