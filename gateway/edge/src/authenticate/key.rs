//! Looks an API key up: one that was sent itself, or one that an access token stands for.

use std::sync::Arc;

use model::{
    access_token::{self, Lent},
    key::{KeyId, Presented, Which},
    problem::Denial,
    snapshot::Snapshot,
    time::Now,
};

use super::{credential, principal::KeyProof};
use crate::runtime::Edge;

/// What was sent in a key's place.
#[derive(Debug)]
pub(super) enum Offered<'h> {
    /// The key.
    Itself(Presented<'h>),
    /// An access token of this deployment, whose signature and dates are right.
    Lent(Arc<Lent>),
}

impl<'h> Offered<'h> {
    /// Reads it.
    ///
    /// # Errors
    /// `credentials-invalid`.
    pub(super) fn read(text: &'h str, edge: &Edge, now: Now) -> Result<Self, Denial> {
        if let Some(presented) = Presented::parse(text).filter(|key| key.purpose.is_api_key()) {
            return Ok(Self::Itself(presented));
        }
        let lent = access_token::is_own(text).then(|| edge.tokens.read(text, now.wall)).flatten();
        lent.map(|lent| Self::Lent(Arc::new(lent))).ok_or_else(credential::invalid_key)
    }

    /// The id of the key that it is, or stands for.
    pub(super) fn id(&self) -> KeyId {
        match self {
            Self::Itself(presented) => presented.id,
            Self::Lent(lent) => lent.key,
        }
    }
}

/// The proof that it gives; `None` unless the key is known and its secret is right.
pub(super) fn verify(snapshot: &Snapshot, offered: &Offered<'_>, edge: &Edge, now: Now) -> Option<KeyProof> {
    match offered {
        Offered::Itself(presented) => of_secret(snapshot, presented, edge, now),
        // Whether the key still has the secret that the token was given for is asked where every proof is (see `principal`).
        Offered::Lent(lent) => {
            let key = snapshot.authority.keys.get(&lent.key)?.clone();
            Some(KeyProof { id: lent.key, key, secret_number: lent.secret_number, lent: Some(Arc::clone(lent)) })
        }
    }
}

fn of_secret(snapshot: &Snapshot, presented: &Presented<'_>, edge: &Edge, now: Now) -> Option<KeyProof> {
    let key = snapshot.authority.keys.get(&presented.id);
    // The secret is compared first and always, so that timing tells nothing about the id.
    let which = edge.peppers.which(presented, key.map(|key| &key.secret), key.and_then(|key| key.previous(now.wall)));
    let (key, which) = key.zip(which)?;
    if key.environment.purpose() != presented.purpose {
        return None;
    }
    let secret_number = match which {
        Which::Present => key.secret_number,
        Which::Previous => key.secret_number.checked_sub(1)?,
    };
    Some(KeyProof { id: presented.id, key: key.clone(), secret_number, lent: None })
}
