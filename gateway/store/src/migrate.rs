//! The schema: embedded in the binary, applied forward only.

use crate::{error::StoreError, pool::{Primary, Reader}};

/// Migrating failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A migration failed, or what was applied is not what this binary holds.
    #[error("the schema could not be migrated")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What [`migrate`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Names of the migrations that were applied now, in order.
    pub now: Vec<String>,
    /// The version that the schema has now.
    pub version: i64,
}

/// Applies what is missing. Safe to run from several nodes at once: an advisory lock lets one go first.
///
/// # Errors
/// [`MigrateError`].
pub async fn migrate(primary: &Primary) -> Result<Applied, MigrateError> {
    todo!()
}

/// Names of the migrations that this binary holds and the database lacks.
///
/// # Errors
/// [`MigrateError`].
pub async fn pending(reader: &impl Reader) -> Result<Vec<String>, MigrateError> {
    todo!()
}
