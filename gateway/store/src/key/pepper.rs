//! Rotation of the pepper: a layer around every digest and another seal around every bcrypt hash, batch by batch, without a secret at hand.

use model::{
    change::{AuthorityChange, BcryptRow, KeyState, SecretRow},
    key::{Digest, KeyId, Peppers},
};
use sqlx::{query_file, query_file_scalar};

use super::row_on;
use crate::{
    actor::Actor,
    error::StoreError,
    pool::Primary,
    wire,
    write::{ControlWrite, Lanes},
};

/// Keys in one transaction, each with two statements: the lock on the authority lane is held for some tens of milliseconds beside the
/// database and for a fifth of a second over a line of a millisecond, and a revocation waits no longer than that.
const BATCH: i64 = 100;

/// How far a rotation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Keys that got a layer.
    pub rotated: usize,
    /// Where to go on; `None` when no key is left.
    pub next: Option<KeyId>,
}

/// Puts the current pepper around the digests of up to 100 keys behind `after`. Keys whose outermost pepper is the current one are
/// left alone, so it can be stopped and begun again anywhere.
///
/// # Errors
/// [`StoreError`]; [`StoreError::PepperMissing`] where a bcrypt hash of another system is sealed by a pepper that is not among `peppers`;
/// [`StoreError::Corrupt`] names a key that cannot be read, and nothing of the batch is changed.
pub async fn rotate(primary: &Primary, peppers: &Peppers, after: Option<KeyId>, actor: &Actor) -> Result<Batch, StoreError> {
    let current = i32::from(peppers.current());
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    // Looked for before the lock is taken: behind many keys that are done already, this takes a while.
    let due = query_file_scalar!("queries/api_key/pepper_due.sql", current, after, BATCH).fetch_all(primary.pool()).await?;
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let mut last = None;
    for text in &due {
        let id = KeyId::parse(text).ok_or_else(|| wire::corrupt("key id", text.clone()))?;
        last = Some(id);
        let mut row = match row_on(&mut write.tx, &id).await {
            Ok(row) if row.state != KeyState::Revoked => row,
            // It ended since.
            Ok(_) | Err(StoreError::NotFound { .. }) => continue,
            Err(error) => return Err(error),
        };
        nest(&mut row.secret, peppers, &id);
        if let Some(previous) = &mut row.previous {
            nest(&mut previous.secret, peppers, &id);
        }
        if let Some(lookup) = &mut row.lookup {
            nest_lookup(lookup, peppers);
        }
        if let Some(bcrypt) = &mut row.bcrypt {
            seal_anew(bcrypt, peppers, &id)?;
        }
        let previous = row.previous.as_ref().map(|previous| &previous.secret);
        let previous_versions = previous.map(versions);
        let lookup_versions = row.lookup.as_ref().map(versions);
        query_file!(
            "queries/api_key/pepper_put.sql",
            id.as_str(),
            row.secret.digest.as_slice(),
            &versions(&row.secret),
            previous.map(|secret| secret.digest.as_slice()),
            previous_versions.as_deref(),
            row.lookup.as_ref().map(|lookup| lookup.digest.as_slice()),
            lookup_versions.as_deref(),
            row.bcrypt.as_ref().map(|bcrypt| bcrypt.sealed.as_slice()),
            row.bcrypt.as_ref().map(|bcrypt| i32::from(bcrypt.pepper))
        )
        .execute(&mut *write.tx)
        .await?;
        write.authority(&AuthorityChange::Key(Box::new(row)))?;
    }
    write.commit().await?;
    let is_full = i64::try_from(due.len()).is_ok_and(|rows| rows == BATCH);
    Ok(Batch { rotated: due.len(), next: last.filter(|_| is_full) })
}

fn nest(secret: &mut SecretRow, peppers: &Peppers, id: &KeyId) {
    let current = peppers.current();
    if secret.peppers.last() == Some(&current) {
        return;
    }
    if let Some(digest) = peppers.nest(current, id, &Digest(secret.digest)) {
        secret.digest = digest.0;
        secret.peppers.push(current);
    }
}

/// What finds an imported key has no id bound in.
fn nest_lookup(lookup: &mut SecretRow, peppers: &Peppers) {
    let current = peppers.current();
    if lookup.peppers.last() == Some(&current) {
        return;
    }
    if let Some(digest) = peppers.nest_lookup(current, &Digest(lookup.digest)) {
        lookup.digest = digest.0;
        lookup.peppers.push(current);
    }
}

/// A bcrypt hash needs no layers, because what is sealed can be opened.
fn seal_anew(bcrypt: &mut BcryptRow, peppers: &Peppers, id: &KeyId) -> Result<(), StoreError> {
    let current = peppers.current();
    if bcrypt.pepper == current {
        return Ok(());
    }
    if !peppers.has(bcrypt.pepper) {
        return Err(StoreError::PepperMissing { version: bcrypt.pepper });
    }
    let hash = peppers.open_bcrypt(bcrypt.pepper, id, &bcrypt.sealed);
    let sealed = hash.and_then(|hash| peppers.seal_bcrypt(current, id, &hash));
    bcrypt.sealed = sealed.ok_or_else(|| wire::corrupt(format!("key {id}"), "its bcrypt hash does not open"))?;
    bcrypt.pepper = current;
    Ok(())
}

fn versions(secret: &SecretRow) -> Vec<i32> {
    secret.peppers.iter().copied().map(i32::from).collect()
}
