//! Reads the keys by which a node tells services who calls.

use anyhow::{Context, Result};
use control::jwks::KeySet;
use edge::principal::key::{Keyring, SigningKey};
use model::compile::node::Signing;

use crate::{
    boot,
    config::{
        SecretRef,
        principal::{PrincipalConfig, PrincipalKeyConfig},
    },
};

/// Loads the keys.
///
/// # Errors
/// When one cannot be read, is of no use, or is there twice.
pub fn keyring(config: Option<&PrincipalConfig>) -> Result<Keyring> {
    let Some(config) = config else { return Ok(Keyring::default()) };
    let keys = config.keys.iter().map(key).collect::<Result<_>>()?;
    Ok(Keyring::new(keys, &config.signing)?)
}

fn key(config: &PrincipalKeyConfig) -> Result<SigningKey> {
    let what = format!("principal key {}", config.id);
    let pem = boot::secret(&what, &config.key)?;
    SigningKey::from_pem(&config.id, pem.expose_secret().as_bytes()).with_context(|| format!("the {what} cannot be used"))
}

/// Everything that can be said against the keys, by place in the node file.
pub(crate) fn mistakes(config: Option<&PrincipalConfig>) -> Vec<(String, String)> {
    let Some(config) = config else { return Vec::new() };
    let (mut found, mut keys, mut is_whole) = (Vec::new(), Vec::new(), true);
    for (position, written) in config.keys.iter().enumerate() {
        // The variable is set where the node runs, which need not be here.
        if matches!(&written.key, SecretRef::Env(name) if boot::environment(name).is_none()) {
            is_whole = false;
            continue;
        }
        match key(written) {
            Ok(key) => keys.push(key),
            Err(error) => found.push((format!("principal.keys[{position}].key"), format!("{error:#}"))),
        }
    }
    // With a key missing, one that signs may seem to.
    if is_whole
        && found.is_empty()
        && let Err(fault) = Keyring::new(keys, &config.signing)
    {
        found.push(("principal.keys".to_owned(), fault.to_string()));
    }
    found
}

/// Whether a node with these keys can sign.
pub(crate) fn signing(keyring: &Keyring) -> Signing {
    if keyring.signing().is_some() { Signing::Ready } else { Signing::Keyless }
}

/// What services get of them.
pub(crate) fn published(keyring: &Keyring) -> KeySet {
    let (set, digest) = keyring.published();
    KeySet::new(set, &digest, signing(keyring))
}
