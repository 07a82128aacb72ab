//! A sign-in that is under way at an `OpenID` provider. Nothing of it is kept here: one random id lies sealed in a cookie, and what has to
//! fit together is derived from it.

use axum::http::HeaderMap;
use data_encoding::BASE64URL_NOPAD;
use http::HeaderValue;
use model::{
    key::{fingerprint, fingerprint_plain},
    seal,
    secret::SecretKey,
    time::UtcMicros,
};
use zeroize::Zeroizing;

use super::session;
use crate::{port::Begin, refusal::Refusal, state::ControlState};

/// Seconds in which somebody has to come back.
const SECONDS: i64 = 600;
const ID_LEN: usize = 32;
const PURPOSE: &str = "provider-sign-in";

/// A sign-in that has begun.
pub(super) struct UnderWay {
    id: Zeroizing<[u8; ID_LEN]>,
    /// When it is over.
    pub(super) until: UtcMicros,
    /// Where the person wanted to go; a page of ours, or nothing.
    pub(super) next: String,
}

impl UnderWay {
    /// Begins one.
    pub(super) fn begin(state: &ControlState, next: String) -> Self {
        Self { id: Zeroizing::new(state.random32()), until: state.now().wall.plus_seconds(SECONDS), next }
    }

    /// The cookie that brings it back.
    pub(super) fn cookie(&self, state: &ControlState) -> Result<HeaderValue, Refusal> {
        let mut plain = self.id.to_vec();
        plain.extend(self.until.0.to_be_bytes());
        plain.extend(self.next.as_bytes());
        let nonce = state.random32().first_chunk().copied().ok_or_else(Refusal::internal)?;
        let sealed =
            seal::seal(&key(state).ok_or_else(Refusal::internal)?, PURPOSE, nonce, plain).map_err(|error| crate::admin::unexpected(&error))?;
        session::provider_cookie(&BASE64URL_NOPAD.encode(&sealed), SECONDS)
    }

    /// The one that a request comes back with.
    pub(super) fn of(state: &ControlState, headers: &HeaderMap) -> Option<Self> {
        let sealed = BASE64URL_NOPAD.decode(session::provider_presented(headers)?.as_bytes()).ok()?;
        let plain = Zeroizing::new(seal::open(&key(state)?, PURPOSE, &sealed).ok()?);
        let (id, rest) = plain.split_first_chunk::<ID_LEN>()?;
        let (until, next) = rest.split_first_chunk::<8>()?;
        let until = UtcMicros(i64::from_be_bytes(*until));
        let next = std::str::from_utf8(next).ok()?.to_owned();
        (state.now().wall < until).then(|| Self { id: Zeroizing::new(*id), until, next })
    }

    fn derived(&self, what: &str) -> String {
        BASE64URL_NOPAD.encode(&fingerprint(&[what.as_bytes(), &*self.id]))
    }

    /// What comes back beside the code (RFC 6749 section 10.12).
    pub(super) fn state(&self) -> String {
        self.derived("state")
    }

    /// What stands in the token.
    pub(super) fn nonce(&self) -> String {
        self.derived("nonce")
    }

    /// What only this browser's code can be redeemed with (RFC 7636).
    pub(super) fn verifier(&self) -> String {
        self.derived("verifier")
    }

    /// What is kept of it once it was used.
    pub(super) fn digest(&self) -> [u8; 32] {
        fingerprint(&[b"used", &*self.id])
    }

    /// What the provider is asked with.
    pub(super) fn wish(&self) -> Begin {
        let challenge = BASE64URL_NOPAD.encode(&fingerprint_plain(self.verifier().as_bytes()));
        Begin { state: self.state(), nonce: self.nonce(), challenge }
    }
}

fn key(state: &ControlState) -> Option<SecretKey> {
    state.peppers().second_factor_key(state.peppers().current())
}
