//! Access tokens of the gateway's own: what the token endpoint gives for an API key (RFC 6749 section 4.4), and what stands for that key
//! for a few minutes.
//!
//! Nodes make them and nodes read them, nobody else. So one secret signs and verifies (HS256, RFC 7518 section 3.2), and the head of a
//! token is compared as text: no field of it is ever believed. What the key may do is looked up at each use; the token only narrows it.

use std::{borrow::Cow, fmt, sync::Arc};

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::{
    key::KeyId,
    key_set::{self, KeySetFault},
    secret::{SecretKey, SecretText},
    time::UtcMicros,
};

/// What every head begins with. Its 39 bytes are 52 characters of base64url without a rest, so that the text of each token begins alike.
const HEAD: &str = r#"{"alg":"HS256","typ":"cwat+jwt","kid":""#;
/// The same, encoded.
const MARK: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6ImN3YXQrand0Iiwia2lkIjoi";
/// Longest text that is looked at: some times what all the scopes of a key need.
const BYTES_MAX: usize = 8 << 10;
/// How far the clock of the node that made a token may be ahead, in seconds.
const AHEAD_SECONDS_MAX: i64 = 60;
/// Longest life of a token, in seconds.
pub const LIFE_SECONDS_MAX: i64 = 3_600;

/// The keys of a deployment: all are taken, one signs.
#[derive(Default)]
pub struct TokenKeys {
    keys: Box<[TokenKey]>,
    signing: usize,
}

struct TokenKey {
    id: Box<str>,
    /// The head of its tokens, encoded, with the dot.
    head: Box<str>,
    key: hmac::Key,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

/// What a token is to say.
#[derive(Debug, Clone, Copy)]
pub struct Grant<'g> {
    /// The origin that was asked (`iss` and `aud`).
    pub origin: &'g str,
    /// The application (`sub`).
    pub application: &'g str,
    /// The key that it stands for (`client_id`).
    pub key: KeyId,
    /// The how manyth of the key's secrets was presented: the token ends with it.
    pub secret_number: u32,
    /// What it may be used for.
    pub scopes: &'g [Box<str>],
    /// When it is made.
    pub issued_at: UtcMicros,
    /// How long it lives, in seconds.
    pub lives_seconds: i64,
    /// Its id: random bytes, because this crate has no source of them.
    pub id: [u8; 16],
}

/// What a token says that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lent {
    /// The key that it stands for.
    pub key: KeyId,
    /// The how manyth of the key's secrets it was given for.
    pub secret_number: u32,
    /// What it may be used for, within what the key may do.
    pub scopes: Arc<[Box<str>]>,
    /// Until when it is taken.
    pub until: UtcMicros,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims<'c> {
    #[serde(borrow)]
    iss: Cow<'c, str>,
    #[serde(borrow)]
    aud: Cow<'c, str>,
    #[serde(borrow)]
    sub: Cow<'c, str>,
    client_id: KeyId,
    secret_number: u32,
    #[serde(borrow)]
    scope: Cow<'c, str>,
    iat: i64,
    exp: i64,
    #[serde(borrow)]
    jti: Cow<'c, str>,
}

/// Whether a text is meant as one of these tokens. No issuer's token begins so: their `typ` is another.
pub fn is_own(text: &str) -> bool {
    text.starts_with(MARK)
}

impl TokenKeys {
    /// Joins keys.
    ///
    /// # Errors
    /// When the one to sign with is not among them, or when one is there twice.
    pub fn new(keys: Vec<(Box<str>, SecretKey)>, signing: &str) -> Result<Self, KeySetFault> {
        let signing = key_set::signing(&keys, signing)?;
        let keys = keys.into_iter().map(|(id, secret)| {
            let head = format!("{}.", BASE64URL_NOPAD.encode(format!("{HEAD}{id}\"}}").as_bytes())).into();
            TokenKey { id, head, key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret()) }
        });
        Ok(Self { keys: keys.collect(), signing })
    }

    /// Whether there is a key to sign with.
    pub fn can_sign(&self) -> bool {
        self.keys.get(self.signing).is_some()
    }

    /// Makes a token; `None` without a key.
    pub fn mint(&self, grant: &Grant<'_>) -> Option<SecretText> {
        let key = self.keys.get(self.signing)?;
        let issued_at = grant.issued_at.0.div_euclid(1_000_000);
        let claims = Claims {
            iss: grant.origin.into(),
            aud: grant.origin.into(),
            sub: grant.application.into(),
            client_id: grant.key,
            secret_number: grant.secret_number,
            scope: grant.scopes.join(" ").into(),
            iat: issued_at,
            exp: issued_at.saturating_add(grant.lives_seconds.clamp(0, LIFE_SECONDS_MAX)),
            jti: BASE64URL_NOPAD.encode(&grant.id).into(),
        };
        let claims = serde_json::to_vec(&claims).ok()?;
        let mut text = String::with_capacity(key.head.len() + claims.len() * 4 / 3 + 48);
        text.push_str(&key.head);
        BASE64URL_NOPAD.encode_append(&claims, &mut text);
        let tag = hmac::sign(&key.key, text.as_bytes());
        text.push('.');
        BASE64URL_NOPAD.encode_append(tag.as_ref(), &mut text);
        Some(SecretText::new(text))
    }

    /// Reads a token; `None` unless it is one of a key that is known here, whole, and within its time.
    pub fn read(&self, text: &str, now: UtcMicros) -> Option<Lent> {
        if text.len() > BYTES_MAX {
            return None;
        }
        let key = self.keys.iter().find(|key| text.starts_with(&*key.head))?;
        let (signed, tag) = text.rsplit_once('.')?;
        let claims = signed.strip_prefix(&*key.head)?;
        let tag = BASE64URL_NOPAD.decode(tag.as_bytes()).ok()?;
        hmac::verify(&key.key, signed.as_bytes(), &tag).ok()?;
        // From here on it is what a node wrote.
        let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).ok()?;
        let claims: Claims<'_> = serde_json::from_slice(&claims).ok()?;
        let at = |seconds: i64| UtcMicros(seconds.saturating_mul(1_000_000));
        let is_young = claims.exp.saturating_sub(claims.iat) <= LIFE_SECONDS_MAX && claims.iat <= now.0.div_euclid(1_000_000) + AHEAD_SECONDS_MAX;
        (is_young && now < at(claims.exp)).then(|| Lent {
            key: claims.client_id,
            secret_number: claims.secret_number,
            scopes: claims.scope.split(' ').filter(|scope| !scope.is_empty()).map(Into::into).collect(),
            until: at(claims.exp),
        })
    }
}

#[cfg(test)]
mod tests;
