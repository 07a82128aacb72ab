//! Reads the keys by which a node makes tokens, and knows those of other nodes: access tokens and consistency tokens.

use anyhow::Result;
use model::{access_token::TokenKeys, compile::node::Signing, consistency_token::ConsistencyKeys, key_set::KeySetFault, secret::SecretKey};

use crate::{
    boot,
    config::{
        NodeConfig, SecretRef,
        key_set::{KeySetConfig, SharedKeyConfig},
    },
};

/// Where the keys of access tokens stand in a node file.
pub(crate) const ACCESS_TOKENS: &str = "secrets.access_tokens";
/// Where those of consistency tokens do.
pub(crate) const CONSISTENCY_TOKENS: &str = "secrets.consistency_tokens";

/// Loads the keys of access tokens.
///
/// # Errors
/// When one cannot be read, or is there twice.
pub fn access_tokens(config: Option<&KeySetConfig>) -> Result<TokenKeys> {
    config.map_or_else(|| Ok(TokenKeys::default()), |config| Ok(TokenKeys::new(all(ACCESS_TOKENS, config)?, &config.signing)?))
}

/// Loads the keys of consistency tokens.
///
/// # Errors
/// When one cannot be read, or is there twice.
pub fn consistency_tokens(config: Option<&KeySetConfig>) -> Result<ConsistencyKeys> {
    config.map_or_else(|| Ok(ConsistencyKeys::default()), |config| Ok(ConsistencyKeys::new(all(CONSISTENCY_TOKENS, config)?, &config.signing)?))
}

fn all(section: &str, config: &KeySetConfig) -> Result<Vec<(Box<str>, SecretKey)>> {
    config.keys.iter().map(|written| Ok((written.id.as_str().into(), key(section, written)?))).collect()
}

fn key(section: &str, config: &SharedKeyConfig) -> Result<SecretKey> {
    boot::secret_key(&format!("{section} key {}", config.id), &config.key)
}

/// Everything that can be said against the keys, by place in the node file.
pub(crate) fn mistakes(config: &NodeConfig) -> Vec<(String, String)> {
    let secrets = &config.secrets;
    let sets = [(ACCESS_TOKENS, &secrets.access_tokens), (CONSISTENCY_TOKENS, &secrets.consistency_tokens)];
    sets.into_iter().filter_map(|(section, set)| Some(mistakes_of(section, set.as_ref()?))).flatten().collect()
}

fn mistakes_of(section: &str, config: &KeySetConfig) -> Vec<(String, String)> {
    let (mut found, mut keys) = (Vec::new(), Vec::new());
    for (position, written) in config.keys.iter().enumerate() {
        // The variable is set where the node runs, which need not be here.
        if matches!(&written.key, SecretRef::Env(name) if boot::environment(name).is_none()) {
            continue;
        }
        match key(section, written) {
            Ok(key) => keys.push((written.id.as_str().into(), key)),
            Err(error) => found.push((format!("{section}.keys[{position}].key"), format!("{error:#}"))),
        }
    }
    // That there is one to sign with is known without reading any. Both kinds ask the same of their keys.
    if let Err(fault @ KeySetFault::Twice(..)) = TokenKeys::new(keys, &config.signing) {
        found.push((format!("{section}.keys"), fault.to_string()));
    }
    found
}

/// Whether a node with these keys can sign.
pub(crate) fn signing(keys: &TokenKeys) -> Signing {
    if keys.can_sign() { Signing::Ready } else { Signing::Keyless }
}
