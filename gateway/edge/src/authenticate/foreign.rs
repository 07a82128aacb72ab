//! Looks up a key that another system has issued, on the routes that take such keys.

use std::net::IpAddr;

use model::{
    authority::Authority,
    key::{
        KeyId,
        foreign::{Foreign, ForeignHash},
    },
    problem::{Denial, ProblemKind},
    snapshot::Snapshot,
    time::{Now, UtcMicros},
};

use super::principal::KeyProof;
use crate::{
    proving::{Busy, Candidate, Question},
    route::Matched,
    runtime::Edge,
};

/// The number of the secret that the other system has issued: the first. Those after it are ours.
const NUMBER: u32 = 1;

impl KeyProof {
    /// Whether the text was one that another system has issued: the first secret of an imported key, which is ours once it is rolled.
    pub fn is_foreign(&self) -> bool {
        self.secret_number == NUMBER && self.key.is_imported()
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

/// Verifies a text that finds no key against the bcrypt hashes of those that it begins like. Whoever begins with what no key begins with is
/// refused sooner than whoever knows a prefix, which is no secret.
///
/// # Errors
/// `overloaded`, when it is not this text's turn, or after too many wrong ones.
pub(super) async fn prove(matched: &Matched<'_>, text: &Foreign<'_>, address: IpAddr, edge: &Edge, now: Now) -> Result<Option<KeyProof>, Denial> {
    let (authority, tenant) = (&matched.snapshot().authority, &*matched.route().tenant);
    let Some(waiting) = authority.waiting.as_ref().filter(|_| text.is_short_enough()) else { return Ok(None) };
    let mut candidates: Vec<Candidate> = waiting.find(text).filter_map(|id| candidate(authority, id, tenant, edge, now.wall)).collect();
    if candidates.is_empty() {
        return Ok(None);
    }
    // Two keys of one text cannot be told apart when they are imported: then every node takes the same one.
    candidates.sort_unstable_by_key(|candidate| candidate.id);
    let hash = text.hash();
    let Some(mark) = edge.peppers.lookup(&[edge.peppers.current()], &hash) else { return Ok(None) };
    let question = Question { text, mark, candidates, address, clock: edge.clock };
    let Some(id) = edge.proving.ask(question).await.map_err(busy)? else { return Ok(None) };
    // The key as it is after that: this may have taken seconds.
    let current = edge.current.load();
    let authority = current.as_ref().map_or(authority, |current| &current.authority);
    let Some(key) = authority.keys.get(&id).filter(|key| key.valid_until(NUMBER, edge.clock.wall()).is_some()) else { return Ok(None) };
    if let Some(bcrypt) = key.bcrypt() {
        edge.proving.tell(id, now.boot, || edge.peppers.proved(bcrypt.pepper, &id, &hash));
    }
    Ok(Some(KeyProof { id, key: key.clone(), secret_number: NUMBER, lent: None }))
}

/// A key that the text may be the text of, and that may be used if it is: nobody has to wait for the others.
fn candidate(authority: &Authority, id: KeyId, tenant: &str, edge: &Edge, now: UtcMicros) -> Option<Candidate> {
    let key = authority.keys.get(&id)?;
    let consumer = authority.consumers.get(&authority.applications.get(&key.application)?.consumer)?;
    let bcrypt = key.bcrypt().filter(|_| *consumer.tenant == *tenant && key.valid_until(NUMBER, now).is_some())?;
    Some(Candidate { id, hash: edge.peppers.open_bcrypt(bcrypt.pepper, &id, &bcrypt.sealed)? })
}

fn busy(busy: Busy) -> Denial {
    let text = "the key is verified the first time that it is used here, and too many others are, or were wrong; send it again";
    Denial::new(ProblemKind::Overloaded, text).retry_after(busy.retry_after_seconds)
}
