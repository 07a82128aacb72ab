//! Several keys for one purpose, of which one signs: how a key is replaced while nodes run.

use crate::secret::SecretKey;

/// What is wrong with keys together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// The one to sign with is not there.
    #[error("there is no key `{0}` to sign with")]
    Unknown(Box<str>),
    /// Two keys have one id, or are one.
    #[error("keys `{0}` and `{1}` are one key, or have one name")]
    Twice(Box<str>, Box<str>),
}

/// Which of the keys signs.
///
/// # Errors
/// When it is not among them, or when one is there twice.
pub(crate) fn signing(keys: &[(Box<str>, SecretKey)], signing: &str) -> Result<usize, KeySetFault> {
    for (position, (id, key)) in keys.iter().enumerate() {
        let same = keys.iter().take(position).find(|(other, secret)| other == id || secret.expose_secret() == key.expose_secret());
        if let Some((other, _)) = same {
            return Err(KeySetFault::Twice(other.clone(), id.clone()));
        }
    }
    keys.iter().position(|(id, _)| **id == *signing).ok_or_else(|| KeySetFault::Unknown(signing.into()))
}
