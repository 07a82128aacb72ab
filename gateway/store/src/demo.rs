//! The demo service's own database: items in a table, read on one server, written on the primary alone.

use model::time::UtcMicros;
use serde::Serialize;

use crate::{error::StoreError, pool::{AddressError, Credentials}};

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
pub struct DemoDatabase {}

impl DemoDatabase {
    /// Prepares; it connects when it is first used.
    ///
    /// # Errors
    /// An address that is not `host:port`.
    pub fn connect(address: &str, credentials: &Credentials, pool_max: u32) -> Result<Self, AddressError> {
        todo!()
    }

    /// Makes the table when it is missing.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn migrate(&self) -> Result<(), DemoError> {
        todo!()
    }

    /// One item; `None` when there is no such item, or not yet on this server.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn get(&self, id: i64) -> Result<Option<Item>, DemoError> {
        todo!()
    }

    /// The newest items, at most `limit` and at most 200.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn list(&self, limit: u32) -> Result<Vec<Item>, DemoError> {
        todo!()
    }

    /// Makes an item.
    ///
    /// # Errors
    /// [`DemoError::ReadOnly`] on a standby.
    pub async fn create(&self, name: &str, quantity: i32) -> Result<Item, DemoError> {
        todo!()
    }
}
