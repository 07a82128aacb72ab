//! Looks an API key up.

use model::{
    key::{Presented, Which},
    snapshot::Snapshot,
    time::Now,
};

use super::principal::KeyProof;
use crate::runtime::Edge;

/// The proof that a key gives, if its secret is right and belongs to this kind of traffic.
pub(super) fn verify(snapshot: &Snapshot, presented: &Presented<'_>, edge: &Edge, now: Now) -> Option<KeyProof> {
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
    Some(KeyProof { id: presented.id, key: key.clone(), secret_number })
}
