//! JSON Web Tokens from other issuers: read strictly, checked with a key of the issuer, understood by the issuer's rules.
//!
//! Everything here is a plain function over values. Fetching key sets, remembering them and telling a client are other
//! crates' work; the time comes in as an argument. No secret, no token and no claim stands in any `Display`, and none in
//! any `Debug` either, except what [`issuer::Verified`] says about itself.
//!
//! A token passes three gates, each of which knows nothing of the next:
//!
//! 1. [`token`]: is this text a token that has one reading? Nothing is believed yet.
//! 2. [`keys`]: which key of the issuer is meant, may it be used with this algorithm, and does the signature hold?
//! 3. [`issuer`]: was it made for us, now, and for whom?
//!
//! Beside them stand [`dpop`]: what the sender of a bound token proves with each request, and [`introspection`]: what an issuer says about
//! a token that only it can read.
//!
//! Reading order: [`algorithm`], [`token`], [`keys`], [`issuer`], [`rejection`], [`dpop`], [`introspection`].
//!
//! # Source
//! RFC 7515 (JWS), RFC 7517 (keys), RFC 7518 (algorithms), RFC 7519 (JWT), RFC 8725 (best practice), RFC 9449 (`DPoP`), RFC 7662 (introspection),
//! ADR 0017.

pub mod algorithm;
pub mod dpop;
pub mod held;
pub mod id_token;
pub mod introspection;
pub mod issuer;
pub mod keys;
mod object;
pub mod rejection;
pub mod token;

/// Has the library check signatures with aws-lc-rs. A process calls this at its start; again is harmless.
pub fn install_provider() {
    jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().ok();
}

#[cfg(test)]
mod tests;
