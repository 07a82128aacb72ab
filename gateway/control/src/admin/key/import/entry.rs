//! One key of an import: what can be taken over of it, and what cannot.

use std::collections::HashSet;

use model::{
    change::KeyState,
    key::foreign::{
        ForeignHash,
        bcrypt::{BcryptFault, BcryptHash, Prefix},
    },
    time::UtcMicros,
};
use serde::{Deserialize, Serialize};
use store::key::import::{ForeignKey, Hashed};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::ToSchema;

use crate::{
    admin::{printable, scope_list},
    body::Object,
};

/// A year: what a key lives that has no end of its own.
const LIFETIME_DEFAULT_SECONDS: i64 = 365 * 24 * 60 * 60;
/// Ten years: no key lives longer than one that is issued here.
const LIFETIME_MAX_SECONDS: i64 = 10 * LIFETIME_DEFAULT_SECONDS;
/// The longest id that a key may have in another system.
const SOURCE_BYTES_MAX: usize = 128;
const NAME_CHARS_MAX: usize = 80;

/// A key of another system. What is wrong with its members is told in the report.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyToImport)]
pub(crate) struct Entry {
    /// What it is called in the other system: 1 to 128 printable characters.
    pub(super) source_id: String,
    /// What its owner calls it; `source_id` when absent.
    name: Option<String>,
    /// How it was hashed: `sha256`, which is meant when nothing is said, or `bcrypt`.
    algorithm: Option<String>,
    /// The hash of its whole text: 64 hexadecimal digits, or `$2b$` (`$2a$`, `$2y$`), a cost of 4 to 12, and 53 digits.
    hash: String,
    /// What its text begins with: 6 to 32 characters, as the other system keeps them in clear. Keys that were hashed with bcrypt need it.
    prefix: Option<String>,
    /// Its own scopes: the application's when absent, none when empty. Those that the application has not are left out.
    scopes: Option<Vec<String>>,
    /// When it ends (RFC 3339); a year from now when absent.
    expires_at: Option<String>,
    /// Whether it is switched off.
    #[serde(default)]
    disabled: bool,
    /// What the other system allows it per time, in whatever form. It has no counterpart: limits of callers stand in plans.
    rate_limit: Option<String>,
}

/// What was lost, or why a key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Loss {
    /// Another algorithm.
    AlgorithmUnknown,
    /// No hash of that algorithm.
    HashMalformed,
    /// A hash that takes too long to verify.
    CostTooHigh,
    /// What its text begins with is not said, or cannot be.
    PrefixMalformed,
    /// Too many keys begin alike.
    PrefixCrowded,
    /// The hash of no text.
    SecretEmpty,
    /// Its id in the other system cannot be kept.
    SourceMalformed,
    /// It has ended.
    Expired,
    /// Its end cannot be read.
    ExpiryMalformed,
    /// Its scopes cannot be.
    ScopesMalformed,
    /// Another key answers to the same text.
    Duplicate,
    /// An earlier import has taken it over with another hash.
    HashDiffers,
    /// It had no end, and got one.
    ExpirySet,
    /// Its end was too far away.
    ExpiryShortened,
    /// Some of its scopes are none of the application's.
    ScopesUnknown,
    /// Its rate limit.
    RateLimit,
    /// Its name.
    NameReplaced,
}

impl Loss {
    /// All.
    pub(crate) const ALL: [Self; 17] = [
        Self::AlgorithmUnknown,
        Self::HashMalformed,
        Self::CostTooHigh,
        Self::PrefixMalformed,
        Self::PrefixCrowded,
        Self::SecretEmpty,
        Self::SourceMalformed,
        Self::Expired,
        Self::ExpiryMalformed,
        Self::ScopesMalformed,
        Self::Duplicate,
        Self::HashDiffers,
        Self::ExpirySet,
        Self::ExpiryShortened,
        Self::ScopesUnknown,
        Self::RateLimit,
        Self::NameReplaced,
    ];

    /// For people.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::AlgorithmUnknown => "only keys that were hashed with SHA-256 or bcrypt can be taken over; issue a new one",
            Self::HashMalformed => "the hash has not the form: 64 hexadecimal digits for sha256, $2b$ with cost, salt and sum for bcrypt",
            Self::CostTooHigh => "its bcrypt hash has a cost over 12, which would take too long to verify; issue a new one",
            Self::PrefixMalformed => {
                "a bcrypt hash needs a prefix: the first 6 to 32 characters of the key's text, visible ASCII, not beginning with cw_"
            }
            Self::PrefixCrowded => {
                "four keys of the tenant wait already that begin alike; give a longer prefix, or import it when one of them has been used"
            }
            Self::SecretEmpty => "it is the hash of an empty text, which is no key",
            Self::SourceMalformed => "its id in the other system must have 1 to 128 printable characters",
            Self::Expired => "it has ended already",
            Self::ExpiryMalformed => "its end is no instant, such as 2027-01-31T12:00:00Z",
            Self::ScopesMalformed => "its scopes are too many, or one cannot be a scope (RFC 6749 section 3.3)",
            Self::Duplicate => "another key answers to the same text: one of this import, or of one before",
            Self::HashDiffers => "an earlier import has taken it over with another hash, which stays; roll or revoke it here",
            Self::ExpirySet => "it had no end; it ends in a year",
            Self::ExpiryShortened => "it ends in ten years: no key lives longer",
            Self::ScopesUnknown => "scopes that the application has not were left out",
            Self::RateLimit => "its rate limit was left out: limits of callers stand in plans",
            Self::NameReplaced => "its name could not be kept; its id in the other system stands for it",
        }
    }
}

/// What an entry came to.
#[derive(Debug)]
pub(super) struct Reading {
    /// The key, or why it is refused.
    pub(super) key: Result<ForeignKey, Loss>,
    /// What was lost of a key that is taken over.
    pub(super) losses: Vec<Loss>,
}

/// Reads the entries of a batch.
pub(super) fn read(entries: &[Object<Entry>], scopes: &[String], now: UtcMicros) -> Vec<Reading> {
    let mut sources = HashSet::new();
    entries
        .iter()
        .map(|Object(entry)| {
            let mut losses = Vec::new();
            let key = key(entry, scopes, now, &mut losses);
            // Of two with one name, which one counts would be for the reader to choose.
            let key = key.and_then(|key| if sources.insert(&entry.source_id) { Ok(key) } else { Err(Loss::Duplicate) });
            Reading { key, losses }
        })
        .collect()
}

fn key(entry: &Entry, known: &[String], now: UtcMicros, losses: &mut Vec<Loss>) -> Result<ForeignKey, Loss> {
    let source = &entry.source_id;
    if source.is_empty() || source.len() > SOURCE_BYTES_MAX || printable(source).is_err() {
        return Err(Loss::SourceMalformed);
    }
    let algorithm = entry.algorithm.as_deref().unwrap_or("sha256");
    let is_named = |names: &[&str]| names.iter().any(|name| algorithm.eq_ignore_ascii_case(name));
    let hashed = if is_named(&["sha256", "sha-256"]) {
        sha256(&entry.hash)?
    } else if is_named(&["bcrypt"]) {
        bcrypt(&entry.hash, entry.prefix.as_deref())?
    } else {
        return Err(Loss::AlgorithmUnknown);
    };
    let expires_at = expiry(entry.expires_at.as_deref(), now, losses)?;
    let scopes = entry.scopes.as_deref().map(|wanted| scopes(wanted, known, losses)).transpose()?;
    if entry.rate_limit.as_ref().is_some_and(|limit| !limit.trim().is_empty()) {
        losses.push(Loss::RateLimit);
    }
    let state = if entry.disabled { KeyState::Disabled } else { KeyState::Active };
    Ok(ForeignKey { source: source.clone(), name: name(entry, losses), hashed, scopes, state, expires_at })
}

fn sha256(text: &str) -> Result<Hashed, Loss> {
    let hash = ForeignHash::parse(text).ok_or(Loss::HashMalformed)?;
    if hash.is_of_nothing() { Err(Loss::SecretEmpty) } else { Ok(Hashed::Sha256(hash)) }
}

fn bcrypt(text: &str, prefix: Option<&str>) -> Result<Hashed, Loss> {
    let hash = BcryptHash::parse(text).map_err(|fault| match fault {
        BcryptFault::Malformed => Loss::HashMalformed,
        BcryptFault::TooDear => Loss::CostTooHigh,
    })?;
    let prefix = prefix.and_then(Prefix::parse).ok_or(Loss::PrefixMalformed)?;
    Ok(Hashed::Bcrypt(prefix, hash))
}

fn name(entry: &Entry, losses: &mut Vec<Loss>) -> String {
    match entry.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) if name.chars().count() <= NAME_CHARS_MAX && printable(name).is_ok() => return name.to_owned(),
        Some(_) => losses.push(Loss::NameReplaced),
        None => {}
    }
    entry.source_id.chars().take(NAME_CHARS_MAX).collect()
}

fn expiry(text: Option<&str>, now: UtcMicros, losses: &mut Vec<Loss>) -> Result<UtcMicros, Loss> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        losses.push(Loss::ExpirySet);
        return Ok(now.plus_seconds(LIFETIME_DEFAULT_SECONDS));
    };
    let at = OffsetDateTime::parse(text, &Rfc3339).map(UtcMicros::from_datetime).map_err(|_| Loss::ExpiryMalformed)?;
    if at <= now {
        return Err(Loss::Expired);
    }
    let latest = now.plus_seconds(LIFETIME_MAX_SECONDS);
    if at > latest {
        losses.push(Loss::ExpiryShortened);
    }
    Ok(at.min(latest))
}

/// A key whose scopes are all left out has none: it must not get the application's in their place.
fn scopes(wanted: &[String], known: &[String], losses: &mut Vec<Loss>) -> Result<Vec<String>, Loss> {
    scope_list(wanted).map_err(|_| Loss::ScopesMalformed)?;
    let kept: Vec<String> = wanted.iter().filter(|scope| known.contains(scope)).cloned().collect();
    if kept.len() < wanted.len() {
        losses.push(Loss::ScopesUnknown);
    }
    Ok(kept)
}

#[cfg(test)]
mod tests;
