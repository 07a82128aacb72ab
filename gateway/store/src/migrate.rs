//! The schema: embedded in the binary, applied forward only.

use sqlx::migrate::{Migrate, Migration, Migrator};

use crate::{
    error::StoreError,
    pool::{Primary, Reader},
};

/// The files of `migrations/`, and not those below it.
static CONTROL: Migrator = sqlx::migrate!("../../migrations");

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
    let now = pending(primary).await?;
    let mut connection = primary.pool().acquire().await.map_err(StoreError::from)?;
    CONTROL.run(&mut *connection).await.map_err(MigrateError::Migrate)?;
    let version = CONTROL.iter().map(|migration| migration.version).max().unwrap_or(0);
    Ok(Applied { now, version })
}

/// Names of the migrations that this binary holds and the database lacks.
///
/// # Errors
/// [`MigrateError`].
pub async fn pending(reader: &impl Reader) -> Result<Vec<String>, MigrateError> {
    let mut connection = reader.reader_pool().acquire().await.map_err(StoreError::from)?;
    let exists = sqlx::query_file_scalar!("queries/server/has_migrations.sql").fetch_one(&mut *connection).await;
    let applied = if exists.map_err(StoreError::from)? {
        connection.list_applied_migrations(&CONTROL.table_name).await.map_err(MigrateError::Migrate)?
    } else {
        Vec::new()
    };
    let missing = CONTROL.iter().filter(|migration| applied.iter().all(|done| done.version != migration.version));
    Ok(missing.map(name).collect())
}

fn name(migration: &Migration) -> String {
    format!("{:04}_{}", migration.version, migration.description.replace(' ', "_"))
}
