//! Second factors: how one is offered, what is kept of it, and what a code that somebody typed is worth.

use std::fmt::Write as _;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use model::{
    id::AccountId,
    seal,
    secret::SecretText,
    time::UtcMicros,
    totp::{DIGITS, SECRET_LEN, TotpSecret},
};
use qrcode::{Color, EcLevel, QrCode};
use store::account::second_factor::{self, Shown};
use zeroize::Zeroizing;

use super::{session::SignedIn, view::in_query};
use crate::{admin::read, refusal::Refusal, state::ControlState};

/// Recovery codes that come with a second factor.
const RECOVERY_CODES: usize = 10;
/// Bytes of a recovery code: 80 bits, which nobody guesses.
const RECOVERY_BYTES: usize = 10;
/// Seconds for which an offer can be taken.
const OFFER_SECONDS: i64 = 15 * 60;

/// A secret that somebody may take into their app. It is kept nowhere: the form brings it back, sealed.
#[derive(Debug)]
pub(super) struct Offer {
    /// What people type, in groups of four.
    pub(super) text: SecretText,
    /// What they scan.
    pub(super) qr: Qr,
    /// What the form brings back.
    pub(super) sealed: String,
}

/// A QR code as a picture of one path. It is the secret in another form.
#[derive(Debug)]
pub(super) struct Qr {
    /// Modules from edge to edge, with the quiet zone of four on each side.
    pub(super) size: usize,
    pub(super) path: SecretText,
}

/// A new secret for whoever looks.
pub(super) fn offer(state: &ControlState, visitor: &SignedIn, site: &str) -> Result<Offer, Refusal> {
    let random = state.random32();
    let secret = random.first_chunk::<SECRET_LEN>().copied().map(TotpSecret::new).ok_or_else(Refusal::internal)?;
    let until = state.now().wall.plus_seconds(OFFER_SECONDS);
    let mut plain = secret.expose_secret().to_vec();
    plain.extend(until.0.to_be_bytes());
    let key = state.peppers().second_factor_key(state.peppers().current()).ok_or_else(Refusal::internal)?;
    let sealed = seal::seal(&key, &offer_purpose(visitor), nonce(state)?, plain).map_err(|error| crate::admin::unexpected(&error))?;
    shown(&secret, &visitor.account.email, site, BASE64URL_NOPAD.encode(&sealed))
}

/// An offer that a form brought back. It is one for this session, so that nobody makes somebody else take a secret that both know.
pub(super) fn taken(state: &ControlState, visitor: &SignedIn, sealed: &str) -> Option<TotpSecret> {
    let sealed = BASE64URL_NOPAD.decode(sealed.as_bytes()).ok()?;
    let key = state.peppers().second_factor_key(state.peppers().current())?;
    let plain = Zeroizing::new(seal::open(&key, &offer_purpose(visitor), &sealed).ok()?);
    let (secret, until) = plain.split_first_chunk::<SECRET_LEN>()?;
    let until = UtcMicros(i64::from_be_bytes(until.try_into().ok()?));
    (state.now().wall < until).then(|| TotpSecret::new(*secret))
}

/// The same offer once more, after a wrong code.
pub(super) fn again(secret: &TotpSecret, visitor: &SignedIn, site: &str, sealed: String) -> Result<Offer, Refusal> {
    shown(secret, &visitor.account.email, site, sealed)
}

fn offer_purpose(visitor: &SignedIn) -> String {
    format!("totp-offer:{}:{}", visitor.account.id, HEXLOWER.encode(&visitor.digest))
}

fn purpose(account: AccountId) -> String {
    format!("totp:{account}")
}

fn nonce(state: &ControlState) -> Result<[u8; 12], Refusal> {
    state.random32().first_chunk().copied().ok_or_else(Refusal::internal)
}

fn shown(secret: &TotpSecret, email: &str, site: &str, sealed: String) -> Result<Offer, Refusal> {
    let text = secret.base32();
    let label = |text: &str| in_query(text).replace('/', "%2F");
    let (site, email) = (label(site), label(email));
    let uri = Zeroizing::new(format!("otpauth://totp/{site}:{email}?secret={}&issuer={site}&algorithm=SHA1&digits=6&period=30", text.as_str()));
    Ok(Offer { text: SecretText::new(grouped(&text)), qr: qr(&uri)?, sealed })
}

fn qr(text: &str) -> Result<Qr, Refusal> {
    const QUIET: usize = 4;
    let code = QrCode::with_error_correction_level(text, EcLevel::L).map_err(|error| crate::admin::unexpected(&error))?;
    let width = code.width();
    let mut path = String::new();
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let (x, y) = (at % width + QUIET, at / width + QUIET);
            // Writing into a text cannot fail.
            write!(path, "M{x} {y}h1v1h-1z").map_err(|error| crate::admin::unexpected(&error))?;
        }
    }
    Ok(Qr { size: width + 2 * QUIET, path: SecretText::new(path) })
}

/// What is kept of a secret that somebody has taken.
pub(super) struct Kept {
    pub(super) sealed: Vec<u8>,
    pub(super) pepper_version: u16,
    pub(super) digests: Vec<[u8; 32]>,
    /// Shown once.
    pub(super) recovery_codes: Vec<SecretText>,
}

/// Seals a secret for the database, and draws its recovery codes.
pub(super) fn kept(state: &ControlState, account: AccountId, secret: &TotpSecret) -> Result<Kept, Refusal> {
    let pepper_version = state.peppers().current();
    let key = state.peppers().second_factor_key(pepper_version).ok_or_else(Refusal::internal)?;
    let plain = secret.expose_secret().to_vec();
    let sealed = seal::seal(&key, &purpose(account), nonce(state)?, plain).map_err(|error| crate::admin::unexpected(&error))?;
    let codes = (0..RECOVERY_CODES).map(|_| state.random32().first_chunk::<RECOVERY_BYTES>().map(|bytes| BASE32_NOPAD.encode(bytes)));
    let codes = codes.collect::<Option<Vec<_>>>().ok_or_else(Refusal::internal)?;
    let digests = codes.iter().map(|code| state.peppers().recovery_digest(pepper_version, account.uuid().as_bytes(), code));
    let digests = digests.collect::<Option<Vec<_>>>().ok_or_else(Refusal::internal)?;
    Ok(Kept { sealed, pepper_version, digests, recovery_codes: codes.iter().map(|code| SecretText::new(grouped(&code.to_lowercase()))).collect() })
}

fn grouped(text: &str) -> String {
    text.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join("-")
}

/// What somebody typed where a code is asked for, as far as its form tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// What an app shows.
    Code([u8; DIGITS]),
    /// One of those for whoever has lost the app, in the form that is hashed.
    RecoveryCode(String),
}

/// Reads it: spaces and hyphens are for the eye.
pub(super) fn typed(text: &str) -> Option<Typed> {
    // No code is as long; what is longer is not worth reading.
    let text: String = text.chars().take(64).filter(|character| !character.is_whitespace() && *character != '-').collect();
    if let Ok(code) = <[u8; DIGITS]>::try_from(text.as_bytes())
        && code.iter().all(u8::is_ascii_digit)
    {
        return Some(Typed::Code(code));
    }
    let text = text.to_ascii_uppercase();
    let is_recovery = BASE32_NOPAD.decode(text.as_bytes()).is_ok_and(|bytes| bytes.len() == RECOVERY_BYTES);
    is_recovery.then_some(Typed::RecoveryCode(text))
}

/// A code that fits. Whether it was used before, the primary says.
#[derive(Debug)]
pub(super) enum Fitting {
    Step(u64),
    RecoveryCode([u8; 32]),
}

impl Fitting {
    pub(super) const fn shown(&self) -> Shown<'_> {
        match self {
            Self::Step(step) => Shown::Step(*step),
            Self::RecoveryCode(digest) => Shown::RecoveryCode(digest),
        }
    }
}

/// Looks a code up against the second factor of an account.
pub(super) async fn fitting(state: &ControlState, account: AccountId, typed: &Typed) -> Result<Option<Fitting>, Refusal> {
    let Some(factor) = read!(state, |reader| second_factor::find(reader, account))? else { return Ok(None) };
    match typed {
        Typed::RecoveryCode(code) => {
            let digest = state.peppers().recovery_digest(factor.pepper_version, account.uuid().as_bytes(), code);
            Ok(digest.map(Fitting::RecoveryCode))
        }
        Typed::Code(code) => {
            let Some(secret) = opened(state, account, &factor) else { return Ok(None) };
            Ok(secret.step_of(code, state.now().wall, Some(factor.last_step)).map(Fitting::Step))
        }
    }
}

fn opened(state: &ControlState, account: AccountId, factor: &second_factor::SecondFactor) -> Option<TotpSecret> {
    let key = state.peppers().second_factor_key(factor.pepper_version);
    let plain = key.and_then(|key| seal::open(&key, &purpose(account), &factor.sealed).ok()).map(Zeroizing::new);
    if plain.is_none() {
        tracing::error!(account.id = %account, pepper = factor.pepper_version, "the second factor of account {account} does not open: is its pepper loaded?");
    }
    plain.and_then(|plain| <[u8; SECRET_LEN]>::try_from(plain.as_slice()).ok()).map(TotpSecret::new)
}

#[cfg(test)]
mod tests;
