//! ID tokens: what an `OpenID` provider says about somebody who has just signed in there.
//!
//! # Source
//! `OpenID` Connect Core 1.0 §2 and §3.1.3.7, RFC 8725 §3.9 to §3.12.

use subtle::ConstantTimeEq;

use super::{
    algorithm::{Algorithm, Algorithms},
    issuer::{self, Draft, Rules, RulesFault},
    keys::KeySet,
    object::{Object, text_of, texts_of},
    rejection::Rejection,
    token::{Unverified, short},
};
use crate::time::UtcMicros;

/// What providers sign ID tokens with; which of them, their keys say.
const ALGORITHMS: [Algorithm; 5] = [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa];

/// A token that is fetched for a code has just been made.
const AGE_SECONDS_MAX: i64 = 600;

/// Clocks of providers are this far from ours at most.
const LEEWAY_SECONDS: u8 = 10;

/// Groups, or whatever the roles come from.
const VALUES_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 255;

/// How a provider's tokens are judged.
#[derive(Debug, Clone)]
pub struct IdTokenRules {
    rules: Rules,
    client: String,
    claim: String,
}

/// Whom a provider has seen. Only [`IdTokenRules::verify`] makes one.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Person {
    /// Who, unique within the provider and for ever.
    pub subject: Box<str>,
    /// A mail address that the provider has verified.
    pub email: Option<String>,
    /// What the person is called.
    pub name: Option<String>,
    /// The values of the claim that roles come from.
    pub values: Vec<String>,
}

/// Names of people stay out of logs.
impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person").finish_non_exhaustive()
    }
}

/// Why a token is not taken. No part of it stands in these words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenFault {
    /// It is not one of this provider for this client, or its signature or its dates do not hold.
    #[error("the ID token does not hold: {0}")]
    Token(Rejection),
    /// It is a token of another kind.
    #[error("it is a token of another kind")]
    Kind,
    /// It is for others, too, or was issued to another client.
    #[error("the ID token is for another client, or for others, too")]
    Party,
    /// It belongs to another sign-in.
    #[error("the ID token belongs to another sign-in")]
    Nonce,
    /// It was not issued just now.
    #[error("the ID token was not issued just now")]
    Age,
    /// A claim has a form that it must not have.
    #[error("a claim of the ID token has a wrong form")]
    Claim,
}

impl From<Rejection> for IdTokenFault {
    fn from(rejection: Rejection) -> Self {
        Self::Token(rejection)
    }
}

impl IdTokenRules {
    /// Rules for one provider, one client of it, and the claim that roles come from.
    ///
    /// # Errors
    /// [`RulesFault`] when one of them is no text.
    pub fn new(issuer: &str, client: &str, claim: &str) -> Result<Self, RulesFault> {
        let rules = Rules::compile(Draft {
            issuer: issuer.to_owned(),
            audiences: vec![client.to_owned()],
            algorithms: Self::algorithms(),
            leeway_seconds: LEEWAY_SECONDS,
            lifetime_seconds_max: None,
            ty: None,
            claims_required: vec!["nonce".to_owned(), "iat".to_owned()],
            scope_claim: None,
            client_claim: None,
        })?;
        Ok(Self { rules, client: client.to_owned(), claim: claim.to_owned() })
    }

    /// What ID tokens may be signed with.
    pub fn algorithms() -> Algorithms {
        Algorithms::public(&ALGORITHMS)
    }

    /// Holds a token against the rules, for the sign-in that this nonce was drawn for.
    ///
    /// # Errors
    /// The first [`IdTokenFault`]; [`Rejection::UnknownKey`] in it when the keys may be outdated.
    pub fn verify(&self, keys: &KeySet, text: &str, nonce: &str, now: UtcMicros) -> Result<Person, IdTokenFault> {
        let token = Unverified::parse(text)?;
        // An access token of the same provider, for whatever it is, says nothing about who sits at this browser.
        if token.ty.as_deref().is_some_and(|ty| !ty.eq_ignore_ascii_case("jwt")) {
            return Err(IdTokenFault::Kind);
        }
        let verified = issuer::verify(&self.rules, keys, &token, now)?;
        let claims = &token.claims;
        self.check_party(claims)?;
        let told = text_claim(claims, "nonce")?.unwrap_or_default();
        if !bool::from(told.as_bytes().ct_eq(nonce.as_bytes())) {
            return Err(IdTokenFault::Nonce);
        }
        if verified.issued_at.is_none_or(|at| at < now.plus_seconds(-AGE_SECONDS_MAX)) {
            return Err(IdTokenFault::Age);
        }
        let is_verified = claims.get("email_verified").is_some_and(|value| value.get() == "true");
        Ok(Person {
            subject: verified.subject,
            email: text_claim(claims, "email")?.filter(|_| is_verified),
            name: text_claim(claims, "name")?,
            values: self.values(claims)?,
        })
    }

    /// §3.1.3.7: no other audiences than those that are trusted, of which there is one; and `azp`, where it is, is the client.
    fn check_party(&self, claims: &Object) -> Result<(), IdTokenFault> {
        let value = claims.get("aud").ok_or(IdTokenFault::Party)?;
        let audiences = text_of(value).map(|one| vec![one]).or_else(|| texts_of(value, 1)).ok_or(IdTokenFault::Party)?;
        let party = text_claim(claims, "azp")?;
        let is_ours = audiences == [self.client.as_str()] && party.is_none_or(|party| party == self.client);
        if is_ours { Ok(()) } else { Err(IdTokenFault::Party) }
    }

    /// A text is one value. That the claim is not there is no mistake: whoever belongs to nothing has no role.
    fn values(&self, claims: &Object) -> Result<Vec<String>, IdTokenFault> {
        let Some(value) = claims.get(&self.claim).filter(|value| value.get() != "null") else { return Ok(Vec::new()) };
        text_of(value).map(|one| vec![one]).or_else(|| texts_of(value, VALUES_MAX)).ok_or(IdTokenFault::Claim)
    }
}

fn text_claim(claims: &Object, name: &str) -> Result<Option<String>, IdTokenFault> {
    let text = claims.text(name, IdTokenFault::Claim)?;
    text.map(|text| short(text, TEXT_BYTES_MAX).map(String::from).ok_or(IdTokenFault::Claim)).transpose()
}

#[cfg(test)]
mod tests;
