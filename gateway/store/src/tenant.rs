//! Tenants: owners of host names. They come from the file; here they are read.

use model::{document::TenantDoc, id::TenantId, time::UtcMicros};
use serde::Serialize;

use crate::{
    error::StoreError,
    page::{Page, PageRequest},
    pool::Reader,
};

/// Who rules a row: only that side may change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ManagedBy {
    /// The gateway file: `apply` changes and prunes it.
    File,
    /// The admin API.
    Api,
}

/// A tenant.
#[derive(Debug, Clone, Serialize)]
pub struct TenantInfo {
    /// Its id.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// Its hosts.
    pub hosts: Vec<model::host::HostPattern>,
    /// Who rules it.
    pub managed_by: ManagedBy,
    /// When it was made.
    pub created_at: UtcMicros,
}

/// Tenants, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(reader: &impl Reader, page: &PageRequest) -> Result<Page<TenantInfo>, StoreError> {
    let _: Option<TenantDoc> = None;
    todo!()
}

/// One tenant by name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(reader: &impl Reader, name: &str) -> Result<TenantInfo, StoreError> {
    todo!()
}
