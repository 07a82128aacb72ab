//! Imported keys whose texts were shown: a digest takes the place of a bcrypt hash.

use model::{change::AuthorityChange, key::foreign::bcrypt::Proved};
use sqlx::query_file;

use super::row_on;
use crate::{
    actor::Actor,
    error::StoreError,
    pool::Primary,
    write::{ControlWrite, Lanes},
};

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The key is found by its text from now on.
    Now,
    /// There was nothing to do: another node has told it, or the key or its first secret has ended.
    Nothing,
}

/// Writes down that a key's text was shown and verified. It touches nothing but a key that waits for that, and does no more than let in whoever
/// has the text; doing it again changes nothing.
///
/// # Errors
/// [`StoreError::Conflict`] with `api_key_import_lookup_unique` when another key answers to the same text.
pub async fn prove(primary: &Primary, proved: &Proved, actor: &Actor) -> Result<Outcome, StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let Proved { id, pepper, lookup, digest } = proved;
    let done = query_file!("queries/api_key/import_prove.sql", id.as_str(), digest.0.as_slice(), i32::from(*pepper), lookup.0.as_slice());
    if done.execute(&mut *write.tx).await?.rows_affected() == 0 {
        write.rollback().await?;
        return Ok(Outcome::Nothing);
    }
    let row = row_on(&mut write.tx, id).await?;
    write.authority(&AuthorityChange::Key(Box::new(row)))?;
    write.commit().await?;
    Ok(Outcome::Now)
}
