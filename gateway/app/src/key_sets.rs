//! Reads the keys by which a node makes access tokens, and knows those of other nodes.

use anyhow::Result;
use model::{
    access_token::{TokenKeys, TokenKeysFault},
    compile::node::Signing,
    secret::SecretKey,
};

use crate::{
    boot,
    config::{
        SecretRef,
        access_tokens::{AccessTokenKeyConfig, AccessTokensConfig},
    },
};

/// Loads the keys.
///
/// # Errors
/// When one cannot be read, or is there twice.
pub fn keys(config: Option<&AccessTokensConfig>) -> Result<TokenKeys> {
    let Some(config) = config else { return Ok(TokenKeys::default()) };
    let keys = config.keys.iter().map(|written| Ok((written.id.as_str().into(), key(written)?))).collect::<Result<_>>()?;
    Ok(TokenKeys::new(keys, &config.signing)?)
}

fn key(config: &AccessTokenKeyConfig) -> Result<SecretKey> {
    boot::secret_key(&format!("access token key {}", config.id), &config.key)
}

/// Everything that can be said against the keys, by place in the node file.
pub(crate) fn mistakes(config: Option<&AccessTokensConfig>) -> Vec<(String, String)> {
    let Some(config) = config else { return Vec::new() };
    let (mut found, mut keys) = (Vec::new(), Vec::new());
    for (position, written) in config.keys.iter().enumerate() {
        // The variable is set where the node runs, which need not be here.
        if matches!(&written.key, SecretRef::Env(name) if boot::environment(name).is_none()) {
            continue;
        }
        match key(written) {
            Ok(key) => keys.push((written.id.as_str().into(), key)),
            Err(error) => found.push((format!("secrets.access_tokens.keys[{position}].key"), format!("{error:#}"))),
        }
    }
    // That there is one to sign with is known without reading any.
    if let Err(fault @ TokenKeysFault::Twice(..)) = TokenKeys::new(keys, &config.signing) {
        found.push(("secrets.access_tokens.keys".to_owned(), fault.to_string()));
    }
    found
}

/// Whether a node with these keys can sign.
pub(crate) fn signing(keys: &TokenKeys) -> Signing {
    if keys.can_sign() { Signing::Ready } else { Signing::Keyless }
}
