//! Tenants: owners of host names. They come from the file; here they are read.

use model::{document::TenantDoc, id::TenantId, portal::PortalDoc, time::UtcMicros};
use serde::Serialize;
use sqlx::{query_file, query_file_as};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    error::StoreError,
    page::{Page, PageRequest, Place},
    pool::Reader,
    wire,
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
    let place = page.place()?;
    let (at, after) = (place.as_ref().map(|place| place.at), place.as_ref().map(Place::uuid).transpose()?);
    let rows = query_file_as!(Row, "queries/tenant/list.sql", at, after, page.rows()).fetch_all(reader.reader_pool()).await?;
    let items = rows.into_iter().map(Row::into_info).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(page, items, |info| (info.created_at, info.id.uuid().to_string())))
}

/// One tenant by name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(reader: &impl Reader, name: &str) -> Result<TenantInfo, StoreError> {
    let row = query_file_as!(Row, "queries/tenant/by_name.sql", name).fetch_optional(reader.reader_pool()).await?;
    row.ok_or_else(|| StoreError::not_found("tenant", name))?.into_info()
}

/// The tenant that has the developer portal, by name, and what it says about it.
///
/// # Errors
/// [`StoreError`]; without a portal it is `None`.
pub async fn portal(reader: &impl Reader) -> Result<Option<(String, PortalDoc)>, StoreError> {
    let row = query_file!("queries/tenant/portal.sql").fetch_optional(reader.reader_pool()).await?;
    let Some(row) = row else { return Ok(None) };
    let body = document(row.body)?;
    Ok(body.portal.map(|portal| (row.name, portal)))
}

fn document(body: serde_json::Value) -> Result<TenantDoc, StoreError> {
    serde_json::from_value(body).map_err(|error| wire::corrupt("tenant", error.to_string()))
}

/// A row of `tenant`.
#[derive(Debug)]
struct Row {
    id: Uuid,
    name: String,
    body: serde_json::Value,
    managed_by: String,
    created_at: OffsetDateTime,
}

impl Row {
    fn into_info(self) -> Result<TenantInfo, StoreError> {
        let body = document(self.body)?;
        Ok(TenantInfo {
            id: TenantId::new(self.id),
            name: self.name,
            hosts: body.hosts,
            managed_by: wire::managed_by(&self.managed_by)?,
            created_at: UtcMicros::from_datetime(self.created_at),
        })
    }
}
