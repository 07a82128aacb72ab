//! The rules for one issuer's tokens, and the verification that holds a token against them.
//!
//! # Source
//! RFC 7519 §4.1 and §7.2, RFC 8725 §3.8 to §3.12, RFC 9068 §4, RFC 7800 §3.1.

pub(super) mod claims;

use std::{fmt, ops::RangeInclusive, sync::Arc};

use self::claims::Ends;
use super::{
    algorithm::{Algorithm, Algorithms},
    keys::KeySet,
    object::Object,
    rejection::{Reason, Rejection},
    token::{Unverified, short},
};
use crate::time::UtcMicros;

/// Less than five seconds refuses honest clocks, more than thirty is a longer life for every token.
const LEEWAY_SECONDS: RangeInclusive<u8> = 5..=30;

/// Audiences of a token or of an issuer's rules.
const AUDIENCES_MAX: usize = 16;

/// Claims that must be there, beyond those that always must.
const CLAIMS_REQUIRED_MAX: usize = 16;

/// Names and addresses in rules; an issuer is an address.
const TEXT_BYTES_MAX: usize = 1_024;

/// What an operator says about an issuer.
#[derive(Debug, Clone)]
pub struct Draft {
    /// `iss`, compared byte by byte.
    pub issuer: String,
    /// The token must be for one of these, compared byte by byte.
    pub audiences: Vec<String>,
    /// What the issuer signs with.
    pub algorithms: Algorithms,
    /// How far the issuer's clock may be from ours: 5 to 30.
    pub leeway_seconds: u8,
    /// The longest that a token may live, from `iat` to `exp`.
    pub lifetime_seconds_max: Option<u32>,
    /// The type that the header must name. Without it: none, `JWT` or `at+jwt`.
    pub ty: Option<String>,
    /// Claims that must be there and not null.
    pub claims_required: Vec<String>,
    /// The claim that holds the scopes. Without it: `scope`, and where that is missing `scp`.
    pub scope_claim: Option<String>,
    /// The claim that names the client. Without it: `client_id`, and where that is missing `azp`.
    pub client_claim: Option<String>,
}

/// Why an issuer's rules are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RulesFault {
    /// The issuer is empty, longer than 1 KiB, or has control characters.
    #[error("the issuer is no text of 1 to 1024 bytes")]
    Issuer,
    /// There is no audience, more than 16, or one that is no text.
    #[error("1 to 16 audiences are needed, each a text of 1 to 1024 bytes")]
    Audiences,
    /// The leeway is not within 5 to 30 seconds.
    #[error("the leeway must be 5 to 30 seconds")]
    Leeway,
    /// No token could live that short.
    #[error("the longest lifetime must not be zero")]
    Lifetime,
    /// The type is no text.
    #[error("the type is no text of 1 to 1024 bytes")]
    Type,
    /// More than 16 required claims, or the name of a claim is no text.
    #[error("the names of claims must be texts of 1 to 1024 bytes, and at most 16 can be required")]
    Claims,
}

/// One issuer's rules, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    issuer: Arc<str>,
    audiences: Box<[Box<str>]>,
    algorithms: Algorithms,
    leeway_seconds: u8,
    lifetime_seconds_max: Option<u32>,
    types: Box<[Box<str>]>,
    is_type_needed: bool,
    claims_required: Box<[Box<str>]>,
    scope_claims: Box<[Box<str>]>,
    client_claims: Box<[Box<str>]>,
}

impl Rules {
    /// Checks what an operator says.
    ///
    /// # Errors
    /// The first [`RulesFault`].
    pub fn compile(draft: Draft) -> Result<Self, RulesFault> {
        if !LEEWAY_SECONDS.contains(&draft.leeway_seconds) {
            return Err(RulesFault::Leeway);
        }
        if draft.lifetime_seconds_max == Some(0) {
            return Err(RulesFault::Lifetime);
        }
        if draft.audiences.is_empty() || draft.audiences.len() > AUDIENCES_MAX {
            return Err(RulesFault::Audiences);
        }
        if draft.claims_required.len() > CLAIMS_REQUIRED_MAX {
            return Err(RulesFault::Claims);
        }
        // What other kinds of tokens exist is not known, so without a word of the operator only those pass that say nothing or that
        // they are plain or access tokens: an issuer signs logout tokens and security events with the same keys (RFC 8725 §3.12).
        let is_type_needed = draft.ty.is_some();
        let types = draft.ty.map_or_else(|| vec!["jwt".to_owned(), "at+jwt".to_owned()], |ty| vec![media_type(&ty)]);
        let one_or = |claim: Option<String>, otherwise: [&str; 2]| claim.map_or_else(|| otherwise.map(str::to_owned).to_vec(), |claim| vec![claim]);
        Ok(Self {
            issuer: text(draft.issuer, RulesFault::Issuer)?.into(),
            audiences: texts(draft.audiences, RulesFault::Audiences)?,
            algorithms: draft.algorithms,
            leeway_seconds: draft.leeway_seconds,
            lifetime_seconds_max: draft.lifetime_seconds_max,
            types: texts(types, RulesFault::Type)?,
            is_type_needed,
            claims_required: texts(draft.claims_required, RulesFault::Claims)?,
            scope_claims: texts(one_or(draft.scope_claim, ["scope", "scp"]), RulesFault::Claims)?,
            client_claims: texts(one_or(draft.client_claim, ["client_id", "azp"]), RulesFault::Claims)?,
        })
    }

    /// The issuer, as tokens name it.
    pub fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// How far the issuer's clock may be from ours, in seconds.
    pub const fn leeway_seconds(&self) -> u8 {
        self.leeway_seconds
    }

    /// What the issuer signs with: [`KeySet::from_jwks`] wants to know.
    pub const fn algorithms(&self) -> Algorithms {
        self.algorithms
    }

    /// Holds claims against the rules, once it is known who made them.
    pub(super) fn judge(&self, claims: &Object, ends: Ends, now: UtcMicros) -> Result<Verified, Reason> {
        let dates = claims::dates(claims, ends, self.leeway_seconds, self.lifetime_seconds_max, now)?;
        claims::check_audience(claims, &self.audiences)?;
        claims::check_required(claims, &self.claims_required)?;
        Ok(Verified {
            issuer: Arc::clone(&self.issuer),
            subject: claims::subject(claims)?,
            token_id: claims::name(claims, "jti", Reason::TokenIdInvalid)?,
            client: claims::client(claims, &self.client_claims)?,
            scopes: claims::scopes(claims, &self.scope_claims)?,
            expires_at: dates.expires_at,
            not_before: dates.not_before,
            issued_at: dates.issued_at,
            confirmation: claims::confirmation(claims)?,
            key_id: None,
            algorithm: None,
        })
    }

    fn check_header(&self, token: &Unverified<'_>) -> Result<(), Reason> {
        if token.issuer_claimed() != Some(&*self.issuer) {
            return Err(Reason::IssuerWrong);
        }
        let is_type_right = match &token.ty {
            Some(ty) => self.types.contains(&media_type(ty).into_boxed_str()),
            None => !self.is_type_needed,
        };
        if !is_type_right {
            return Err(Reason::TypeWrong);
        }
        if self.algorithms.contains(token.algorithm) { Ok(()) } else { Err(Reason::AlgorithmRefused) }
    }
}

/// A token that holds. Only [`verify`] and [`super::introspection::judge`] make one.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Who issued it.
    pub issuer: Arc<str>,
    /// About whom: 1 to 255 bytes without control characters, unique within the issuer.
    pub subject: Box<str>,
    /// The token's id, if it has one. It is what a token is denied by; the signature is no identity, because a valid ECDSA signature can be
    /// turned into another valid one by anybody.
    pub token_id: Option<Box<str>>,
    /// The client that the token was issued to, if it says so.
    pub client: Option<Box<str>>,
    /// What it may be used for, in the token's order.
    pub scopes: Box<[Box<str>]>,
    /// When it ends. The issuer's leeway is not added.
    pub expires_at: UtcMicros,
    /// From when on it holds, if it says so. The issuer's leeway is not taken off.
    pub not_before: Option<UtcMicros>,
    /// When it was issued, if it says so. A rule about tokens issued before an instant must refuse those that do not say it.
    pub issued_at: Option<UtcMicros>,
    /// What the sender must prove beside the token. A caller that cannot check it must refuse.
    pub confirmation: Option<Confirmation>,
    /// The key that it was verified with, as the set names it.
    pub key_id: Option<Box<str>>,
    /// The algorithm that it was verified with; none where its issuer said so.
    pub algorithm: Option<Algorithm>,
}

/// What a token is bound to (`cnf`): SHA-256 hashes. Where both are there, both must be proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// `jkt`: the thumbprint of the key of the `DPoP` proof (RFC 9449 §6.1).
    pub key_thumbprint: Option<[u8; 32]>,
    /// `x5t#S256`: the thumbprint of the client's certificate (RFC 8705 §3.1).
    pub certificate_thumbprint: Option<[u8; 32]>,
}

/// Subjects are names of people: they stay out of logs.
impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("issuer", &self.issuer)
            .field("algorithm", &self.algorithm)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Holds a token against an issuer's rules and keys.
///
/// The order is: whose token, of which type, which key, the signature, and only then the claims. So an unknown key id is told
/// only for tokens that name this issuer, and a claim is only read once it is known who wrote it.
///
/// # Errors
/// [`Rejection::UnknownKey`] when the keys may be outdated, [`Rejection::Refused`] for everything else.
pub fn verify(rules: &Rules, keys: &KeySet, token: &Unverified<'_>, now: UtcMicros) -> Result<Verified, Rejection> {
    rules.check_header(token)?;
    let key = keys.select(token.key_id.as_deref(), token.algorithm)?;
    if !key.verifies(token.algorithm, token.signed, token.signature) {
        return Err(Reason::SignatureInvalid.into());
    }
    let verified = rules.judge(&token.claims, Ends::Must, now)?;
    Ok(Verified { key_id: key.id.clone(), algorithm: Some(token.algorithm), ..verified })
}

/// The one form of a type: `application/` is left out and case means nothing (RFC 7515 §4.1.9).
fn media_type(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    text.strip_prefix("application/").map(str::to_owned).unwrap_or(text)
}

fn text(text: String, fault: RulesFault) -> Result<Box<str>, RulesFault> {
    short(text, TEXT_BYTES_MAX).ok_or(fault)
}

fn texts(list: Vec<String>, fault: RulesFault) -> Result<Box<[Box<str>]>, RulesFault> {
    list.into_iter().map(|item| text(item, fault)).collect()
}
