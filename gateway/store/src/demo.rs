//! The demo service's own database: items in a table, read on one server, written on the primary alone.

use model::time::UtcMicros;
use serde::Serialize;
use sqlx::{PgPool, error::DatabaseError, migrate::Migrator, query_file_as};
use time::OffsetDateTime;

use crate::{
    error::StoreError,
    migrate::MigrateError,
    pool::{self, AddressError, Credentials},
};

static DEMO: Migrator = sqlx::migrate!("../../migrations/demo");

/// The most items that a list holds.
const LIST_MAX: u32 = 200;

/// The demo service cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// This server is a standby: it takes no writes.
    #[error("the server is a standby")]
    ReadOnly,
    /// Anything else.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// How many.
    pub quantity: i32,
    /// When it was made.
    pub created_at: UtcMicros,
}

/// One server of the demo database.
#[derive(Debug, Clone)]
pub struct DemoDatabase(PgPool);

impl DemoDatabase {
    /// Prepares; it connects when it is first used.
    ///
    /// # Errors
    /// An address that is not `host:port`.
    pub fn connect(address: &str, credentials: &Credentials, pool_max: u32) -> Result<Self, AddressError> {
        Ok(Self(pool::lazy(pool::options(address, credentials)?, pool_max)))
    }

    /// Makes the table when it is missing; needs the primary.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        let mut connection = self.0.acquire().await.map_err(StoreError::from)?;
        DEMO.run(&mut *connection).await.map_err(MigrateError::Migrate)
    }

    /// One item; `None` when there is no such item, or not yet on this server.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn get(&self, id: i64) -> Result<Option<Item>, DemoError> {
        let row = query_file_as!(Row, "queries/item/get.sql", id).fetch_optional(&self.0).await.map_err(refusal)?;
        Ok(row.map(Row::into_item))
    }

    /// The newest items, at most `limit` and at most 200.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn list(&self, limit: u32) -> Result<Vec<Item>, DemoError> {
        let limit = i64::from(limit.clamp(1, LIST_MAX));
        let rows = query_file_as!(Row, "queries/item/list.sql", limit).fetch_all(&self.0).await.map_err(refusal)?;
        Ok(rows.into_iter().map(Row::into_item).collect())
    }

    /// Makes an item: a name of 1 to 200 characters, a quantity that is not negative.
    ///
    /// # Errors
    /// [`DemoError::ReadOnly`] on a standby; [`StoreError::Invalid`] when the table refuses the values.
    pub async fn create(&self, name: &str, quantity: i32) -> Result<Item, DemoError> {
        let row = query_file_as!(Row, "queries/item/create.sql", name, quantity).fetch_one(&self.0).await.map_err(refusal)?;
        Ok(row.into_item())
    }
}

/// `read_only_sql_transaction`: the server is in recovery.
fn refusal(error: sqlx::Error) -> DemoError {
    let is_read_only = error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "25006");
    if is_read_only { DemoError::ReadOnly } else { DemoError::Store(error.into()) }
}

/// A row of `item`.
#[derive(Debug)]
struct Row {
    id: i64,
    name: String,
    quantity: i32,
    created_at: OffsetDateTime,
}

impl Row {
    fn into_item(self) -> Item {
        Item { id: self.id, name: self.name, quantity: self.quantity, created_at: UtcMicros::from_datetime(self.created_at) }
    }
}
