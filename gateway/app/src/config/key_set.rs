//! `secrets.access_tokens`, `secrets.consistency_tokens`: the keys by which nodes know the tokens that they gave.

use serde::{Deserialize, Serialize};

use super::SecretRef;

/// Keys that are taken, of which one signs. The same on every node of every region.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySetConfig {
    /// The id of the key that signs.
    pub signing: String,
    /// Every key whose tokens are taken.
    pub keys: Vec<SharedKeyConfig>,
}

/// One key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedKeyConfig {
    /// Its name, by which tokens refer to it.
    pub id: String,
    /// Its 32 bytes by reference, in hexadecimal.
    pub key: SecretRef,
}

impl KeySetConfig {
    /// What can be said against it without reading a key; `section` is where it stands in the node file.
    pub(super) fn mistakes(&self, section: &str, say: &mut impl FnMut(&str, String)) {
        for (position, key) in self.keys.iter().enumerate() {
            let path = format!("{section}.keys[{position}].id");
            if !model::compile::is_name(&key.id) {
                say(&path, format!("`{}` is not a name: use 1 to 63 of a-z, 0-9, `-` and `_`", key.id));
            } else if self.keys.iter().take(position).any(|other| other.id == key.id) {
                say(&path, format!("the id `{}` stands twice: nodes could not tell which key is meant", key.id));
            }
        }
        if !self.keys.iter().any(|key| key.id == self.signing) {
            say(&format!("{section}.signing"), format!("there is no key with the id `{}` under `{section}.keys`", self.signing));
        }
    }
}
