//! Looks up a key that another system has issued, on the routes that take such keys.

use model::{
    key::{
        KeyId,
        foreign::{Foreign, ForeignHash},
    },
    snapshot::Snapshot,
    time::Now,
};

use super::principal::KeyProof;
use crate::runtime::Edge;

impl KeyProof {
    /// Whether the text was one that another system has issued: the first secret of an imported key, which is ours once it is rolled.
    pub fn is_foreign(&self) -> bool {
        self.secret_number == 1 && self.key.lookup().is_some()
    }
}

/// What a text of another system came to.
#[derive(Debug)]
pub(super) struct Found {
    /// The key that it belongs to, for the record, valid or not.
    pub(super) seen: Option<KeyId>,
    /// The proof that it gives.
    pub(super) proof: Option<KeyProof>,
}

/// Finds the key, and holds the text against what is stored of it. Where there is none, the same work is done against a dummy.
pub(super) fn verify(snapshot: &Snapshot, text: &Foreign<'_>, edge: &Edge, now: Now) -> Found {
    let hash = text.hash();
    let imported = snapshot.authority.imported.as_ref();
    let seen = imported.and_then(|imported| imported.find(&edge.peppers, &hash));
    Found { seen, proof: proof(snapshot, seen, &hash, edge, now) }
}

fn proof(snapshot: &Snapshot, id: Option<KeyId>, hash: &ForeignHash, edge: &Edge, now: Now) -> Option<KeyProof> {
    let key = id.and_then(|id| snapshot.authority.keys.get(&id));
    let which = edge.peppers.which_foreign(id.as_ref(), hash, key.map(|key| &key.secret), key.and_then(|key| key.previous(now.wall)));
    let (id, key, which) = (id?, key?, which?);
    Some(KeyProof { id, key: key.clone(), secret_number: key.number_of(which)?, lent: None })
}
