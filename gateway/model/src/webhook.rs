//! Webhooks in the form of the Standard Webhooks specification 1.0: where they go, and how a receiver knows who calls.

use std::fmt;

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    key::Peppers,
    seal,
    secret::{SecretKey, SecretText},
};

/// What the text of a secret begins with.
const SECRET_PREFIX: &str = "whsec_";
/// Characters of an address.
const URL_MAX: usize = 1_000;

/// Why a text is no address of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// It is no URL, or too long.
    #[error("must be an address like https://example.com/hooks, of at most 1,000 characters")]
    Form,
    /// It is not https.
    #[error("must begin with https://")]
    Scheme,
    /// It holds a user or password, or something behind a `#`.
    #[error("must have no user, no password and nothing behind a #")]
    Extra,
}

/// Reads where a webhook goes.
///
/// # Errors
/// [`UrlFault`].
pub fn url(text: &str) -> Result<Url, UrlFault> {
    if text.len() > URL_MAX {
        return Err(UrlFault::Form);
    }
    let url = Url::parse(text).map_err(|_| UrlFault::Form)?;
    if url.scheme() != "https" {
        return Err(UrlFault::Scheme);
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(UrlFault::Form);
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(UrlFault::Extra);
    }
    Ok(url)
}

/// A secret that is shared with a receiver.
#[derive(Clone)]
pub struct Secret(SecretText);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// A secret of random bytes.
    pub fn new(random: &[u8; 32]) -> Self {
        Self(SecretText::new(format!("{SECRET_PREFIX}{}", BASE64.encode(random))))
    }

    /// Reads the text of a secret: `whsec_` and 24 to 64 bytes in base64. `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let secret = Self(SecretText::new(text.to_owned()));
        let length = secret.bytes()?.len();
        (24..=64).contains(&length).then_some(secret)
    }

    /// The text, for the one who has to copy it.
    pub fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }

    /// The value of `webhook-signature` for an id, an instant in seconds and the bytes of a body.
    pub fn signature(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.bytes().unwrap_or_default());
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{id}.{seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", BASE64.encode(context.sign().as_ref()))
    }

    fn bytes(&self) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        let text = self.0.expose_secret().strip_prefix(SECRET_PREFIX)?;
        BASE64.decode(text.as_bytes()).ok().map(zeroize::Zeroizing::new)
    }
}

/// Where a webhook goes, and by which secret it is signed.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Where.
    pub url: Url,
    /// The secret.
    pub secret: Secret,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    url: String,
    secret: String,
}

impl Receiver {
    /// Seals it for the team that it belongs to, under a key from the newest pepper, whose version stands beside it. `None` when the
    /// cipher refuses.
    pub fn seal(&self, peppers: &Peppers, team: &str, nonce: [u8; 12]) -> Option<(Vec<u8>, u16)> {
        let version = peppers.current();
        let kept = Kept { url: self.url.as_str().to_owned(), secret: self.secret.expose_secret().to_owned() };
        let plain = serde_json::to_vec(&kept).ok()?;
        let sealed = seal::seal(&peppers.webhook_key(version)?, &purpose(team), nonce, plain).ok()?;
        Some((sealed, version))
    }

    /// Opens what was sealed for this team. `None` when the pepper is not loaded, or the bytes are another team's or altered.
    pub fn open(peppers: &Peppers, team: &str, version: u16, sealed: &[u8]) -> Option<Self> {
        let plain = zeroize::Zeroizing::new(seal::open(&peppers.webhook_key(version)?, &purpose(team), sealed).ok()?);
        let kept: Kept = serde_json::from_slice(&plain).ok()?;
        Some(Self { url: url(&kept.url).ok()?, secret: Secret::parse(&kept.secret)? })
    }
}

/// Bound in, so that a row cannot be moved to another team.
fn purpose(team: &str) -> String {
    format!("causeway webhook of {team}")
}

impl Peppers {
    /// What addresses and secrets of webhooks are sealed with; `None` when the version is not loaded.
    pub fn webhook_key(&self, version: u16) -> Option<SecretKey> {
        self.derived(version, b"cwwebhook1").map(SecretKey::new)
    }
}

#[cfg(test)]
mod tests;
