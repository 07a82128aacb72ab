//! `principal`: the keys by which a node tells services who calls.

use serde::{Deserialize, Serialize};

use super::SecretRef;

/// Published keys, of which one signs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalConfig {
    /// The id of the key that signs.
    pub signing: String,
    /// Every key that services may verify with.
    pub keys: Vec<PrincipalKeyConfig>,
}

/// One key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalKeyConfig {
    /// What services call it (`kid`).
    pub id: String,
    /// The private key by reference: PKCS #8 PEM, Ed25519 or P-256.
    pub key: SecretRef,
}

impl PrincipalConfig {
    /// What can be said against it without reading a key.
    pub(super) fn mistakes(&self, say: &mut impl FnMut(&str, String)) {
        for (position, key) in self.keys.iter().enumerate() {
            let path = format!("principal.keys[{position}].id");
            if !model::compile::is_name(&key.id) {
                say(&path, format!("`{}` is not a name: use 1 to 63 of a-z, 0-9, `-` and `_`", key.id));
            } else if self.keys.iter().take(position).any(|other| other.id == key.id) {
                say(&path, format!("the id `{}` stands twice: services could not tell which key is meant", key.id));
            }
        }
        if !self.keys.iter().any(|key| key.id == self.signing) {
            say("principal.signing", format!("there is no key with the id `{}` under `principal.keys`", self.signing));
        }
    }
}
