//! Codes of six digits that change every half minute, as authenticator apps show them.
//!
//! # Source
//! RFC 6238 (TOTP) over RFC 4226 (HOTP), with what every app can do: SHA-1, six digits, 30 s. SHA-1 stands inside HMAC here, where its
//! collisions are of no use to anybody.

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::time::UtcMicros;

/// Bytes of a secret: as many as SHA-1 gives (RFC 4226 section 4, R6).
pub const SECRET_LEN: usize = 20;
/// How long a code is shown, in seconds.
pub const STEP_SECONDS: i64 = 30;
/// Digits of a code.
pub const DIGITS: usize = 6;
/// Clocks of devices are this many steps ahead or behind at most.
const DRIFT_STEPS: u64 = 1;

/// A secret that one device and we have. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct TotpSecret(Zeroizing<[u8; SECRET_LEN]>);

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret(..)")
    }
}

impl TotpSecret {
    /// Takes the secret's bytes.
    pub fn new(bytes: [u8; SECRET_LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Lends the bytes to whoever seals them.
    pub fn expose_secret(&self) -> &[u8; SECRET_LEN] {
        &self.0
    }

    /// The text that people type into their app.
    pub fn base32(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_NOPAD.encode(&*self.0))
    }

    /// The code of a step.
    pub fn code(&self, step: u64) -> [u8; DIGITS] {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &*self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        // RFC 4226 section 5.3: the last four bits say where four bytes are taken, without the topmost bit.
        let bytes = tag.as_ref();
        let at = usize::from(bytes.last().copied().unwrap_or_default() & 0xf);
        let four = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>).copied().unwrap_or_default();
        let mut rest = u32::from_be_bytes(four) & 0x7fff_ffff;
        let mut code = [b'0'; DIGITS];
        for slot in code.iter_mut().rev() {
            *slot = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
        code
    }

    /// The step whose code somebody typed at this instant: a step after `last`, which was taken before. A code counts once (RFC 6238
    /// section 5.2), so none of an earlier step counts either.
    pub fn step_of(&self, typed: &[u8; DIGITS], now: UtcMicros, last: Option<u64>) -> Option<u64> {
        let present = step_at(now)?;
        let steps = present.saturating_sub(DRIFT_STEPS)..=present.saturating_add(DRIFT_STEPS);
        // Each is compared, so that the time tells nothing of which it was.
        let found = steps.fold(None, |found, step| {
            let is_same: bool = self.code(step).ct_eq(typed).into();
            if is_same { Some(step) } else { found }
        });
        found.filter(|step| last.is_none_or(|last| *step > last))
    }
}

/// The step at an instant; `None` before 1970.
pub fn step_at(now: UtcMicros) -> Option<u64> {
    u64::try_from(now.0.div_euclid(STEP_SECONDS * 1_000_000)).ok()
}

#[cfg(test)]
mod tests;
