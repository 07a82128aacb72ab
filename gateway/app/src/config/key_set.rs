//! `secrets.access_tokens`: the keys by which nodes know the access tokens that they gave.

use serde::{Deserialize, Serialize};

use super::SecretRef;

/// Keys that are taken, of which one signs. The same on every node of every region.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessTokensConfig {
    /// The id of the key that signs.
    pub signing: String,
    /// Every key whose tokens are taken.
    pub keys: Vec<AccessTokenKeyConfig>,
}

/// One key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessTokenKeyConfig {
    /// Its name, which stands in tokens (`kid`).
    pub id: String,
    /// Its 32 bytes by reference, in hexadecimal.
    pub key: SecretRef,
}

impl AccessTokensConfig {
    /// What can be said against it without reading a key.
    pub(super) fn mistakes(&self, say: &mut impl FnMut(&str, String)) {
        for (position, key) in self.keys.iter().enumerate() {
            let path = format!("secrets.access_tokens.keys[{position}].id");
            if !model::compile::is_name(&key.id) {
                say(&path, format!("`{}` is not a name: use 1 to 63 of a-z, 0-9, `-` and `_`", key.id));
            } else if self.keys.iter().take(position).any(|other| other.id == key.id) {
                say(&path, format!("the id `{}` stands twice: nodes could not tell which key is meant", key.id));
            }
        }
        if !self.keys.iter().any(|key| key.id == self.signing) {
            say("secrets.access_tokens.signing", format!("there is no key with the id `{}` under `secrets.access_tokens.keys`", self.signing));
        }
    }
}
