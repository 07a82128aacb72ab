//! The claims of a token whose signature holds, each read once into what it means.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Number, value::RawValue};

use super::{AUDIENCES_MAX, Confirmation};
use crate::{
    jwt::{
        object::{Object, text_of, texts_of},
        rejection::Reason,
        token::short,
    },
    time::UtcMicros,
};

/// 9999-12-31T23:59:59Z: the last second that a date with four digits can name.
const SECONDS_MAX: u64 = 253_402_300_799;
const SECONDS_MAX_FLOAT: f64 = 253_402_300_799.0;

/// `OpenID` Connect Core §2 gives `sub` 255; the other names take the same.
const NAME_BYTES_MAX: usize = 255;

/// A payload of 6 KiB has room for more, but a rule never asks for so many.
const SCOPES_MAX: usize = 256;

/// The dates that are of use after the check.
pub(super) struct Dates {
    pub(super) expires_at: UtcMicros,
    pub(super) not_before: Option<UtcMicros>,
    pub(super) issued_at: Option<UtcMicros>,
}

/// When a token ends.
#[derive(Debug, Clone, Copy)]
pub(in crate::jwt) enum Ends {
    /// When it says; it must.
    Must,
    /// When it says, and then where it does not.
    At(UtcMicros),
}

/// Reads and checks `exp`, `nbf` and `iat`.
pub(super) fn dates(claims: &Object, ends: Ends, leeway_seconds: u8, lifetime_seconds_max: Option<u32>, now: UtcMicros) -> Result<Dates, Reason> {
    let leeway = i64::from(leeway_seconds);
    let latest = now.plus_seconds(leeway);
    let expires_at = match (date(claims, "exp")?, ends) {
        (Some(at), _) | (None, Ends::At(at)) => at,
        (None, Ends::Must) => return Err(Reason::ExpiryMissing),
    };
    let not_before = date(claims, "nbf")?;
    let issued_at = date(claims, "iat")?;
    if expires_at <= now.plus_seconds(-leeway) {
        return Err(Reason::Expired);
    }
    if not_before.is_some_and(|at| at > latest) {
        return Err(Reason::NotYetValid);
    }
    if issued_at.is_some_and(|at| at > latest) {
        return Err(Reason::IssuedInFuture);
    }
    if let Some(seconds_max) = lifetime_seconds_max {
        let issued_at = issued_at.ok_or(Reason::IssuedAtMissing)?;
        if expires_at > issued_at.plus_seconds(i64::from(seconds_max)) {
            return Err(Reason::LifetimeTooLong);
        }
    }
    Ok(Dates { expires_at, not_before, issued_at })
}

/// A `NumericDate`: seconds, whole or with a fraction. What a fraction has below a microsecond is cut off.
pub(in crate::jwt) fn date(claims: &Object, name: &str) -> Result<Option<UtcMicros>, Reason> {
    claims.get(name).map(|value| instant(value).ok_or(Reason::DateInvalid)).transpose()
}

fn instant(value: &RawValue) -> Option<UtcMicros> {
    let number: Number = serde_json::from_str(value.get()).ok()?;
    if let Some(seconds) = number.as_u64() {
        let seconds = i64::try_from(seconds).ok().filter(|_| seconds <= SECONDS_MAX)?;
        return Some(UtcMicros(0).plus_seconds(seconds));
    }
    let seconds = number.as_f64().filter(|seconds| (0.0..=SECONDS_MAX_FLOAT).contains(seconds))?;
    // Whole seconds first: together they would not fit the 53 bits that a double keeps exactly.
    #[expect(clippy::cast_possible_truncation, reason = "both lie between 0 and 253,402,300,799, and cutting is what is wanted")]
    let (whole, micros) = (seconds.trunc() as i64, (seconds.fract() * 1e6) as i64);
    Some(UtcMicros(UtcMicros(0).plus_seconds(whole).0 + micros))
}

/// The token is for one of the audiences, byte by byte.
pub(super) fn check_audience(claims: &Object, audiences: &[Box<str>]) -> Result<(), Reason> {
    let value = claims.get("aud").ok_or(Reason::AudienceMissing)?;
    let named = match text_of(value) {
        Some(text) => vec![text],
        None => texts_of(value, AUDIENCES_MAX).ok_or(Reason::AudienceInvalid)?,
    };
    let is_for_us = named.iter().any(|named| audiences.iter().any(|audience| **audience == **named));
    if is_for_us { Ok(()) } else { Err(Reason::AudienceWrong) }
}

/// The claims are there, and not null.
pub(super) fn check_required(claims: &Object, names: &[Box<str>]) -> Result<(), Reason> {
    let is_there = |name: &str| claims.get(name).is_some_and(|value| value.get() != "null");
    if names.iter().all(|name| is_there(name)) { Ok(()) } else { Err(Reason::ClaimMissing) }
}

/// Whom the token is about.
pub(super) fn subject(claims: &Object) -> Result<Box<str>, Reason> {
    name(claims, "sub", Reason::SubjectInvalid)?.ok_or(Reason::SubjectMissing)
}

/// The client, by the first of the claims that is there.
pub(super) fn client(claims: &Object, names: &[Box<str>]) -> Result<Option<Box<str>>, Reason> {
    match names.iter().find(|name| claims.has(name)) {
        Some(found) => name(claims, found, Reason::ClientInvalid),
        None => Ok(None),
    }
}

/// A claim that is a name, if it is there.
pub(super) fn name(claims: &Object, name: &str, otherwise: Reason) -> Result<Option<Box<str>>, Reason> {
    claims.text(name, otherwise)?.map(|text| short(text, NAME_BYTES_MAX).ok_or(otherwise)).transpose()
}

/// The scopes, by the first of the claims that is there: a text with blanks between them (RFC 8693 §4.2) or a list.
pub(super) fn scopes(claims: &Object, names: &[Box<str>]) -> Result<Box<[Box<str>]>, Reason> {
    let Some(value) = names.iter().find_map(|name| claims.get(name)) else { return Ok(Box::default()) };
    let scopes = match text_of(value) {
        Some(text) => text.split(' ').filter(|scope| !scope.is_empty()).take(SCOPES_MAX + 1).map(str::to_owned).collect(),
        None => texts_of(value, SCOPES_MAX).ok_or(Reason::ScopesInvalid)?,
    };
    if scopes.len() > SCOPES_MAX || !scopes.iter().all(|scope| is_scope(scope)) {
        return Err(Reason::ScopesInvalid);
    }
    Ok(scopes.into_iter().map(String::into_boxed_str).collect())
}

/// RFC 6749 §3.3: visible ASCII without the quotation mark and the backslash.
fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// What the token is bound to. One that is bound to something else than the two kinds that are known here is refused: taken
/// for an unbound token, it would be worth more to a thief than its issuer meant.
pub(super) fn confirmation(claims: &Object) -> Result<Option<Confirmation>, Reason> {
    let Some(value) = claims.get("cnf") else { return Ok(None) };
    let members = Object::read_walked(value.get()).map_err(|_| Reason::ConfirmationInvalid)?;
    let confirmation = Confirmation { key_thumbprint: thumbprint(&members, "jkt")?, certificate_thumbprint: thumbprint(&members, "x5t#S256")? };
    if confirmation.key_thumbprint.is_none() && confirmation.certificate_thumbprint.is_none() {
        return Err(Reason::ConfirmationInvalid);
    }
    Ok(Some(confirmation))
}

fn thumbprint(members: &Object, name: &str) -> Result<Option<[u8; 32]>, Reason> {
    let Some(text) = members.text(name, Reason::ConfirmationInvalid)? else { return Ok(None) };
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| Reason::ConfirmationInvalid)?;
    bytes.try_into().map(Some).map_err(|_| Reason::ConfirmationInvalid)
}
