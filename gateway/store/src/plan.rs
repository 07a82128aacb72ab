//! Plans: named limits that applications share. They come from the file; here they are read.

use std::collections::BTreeMap;

use model::{
    document::{PlanDoc, PlanLimitDoc},
    id::PlanId,
    time::UtcMicros,
};
use serde::Serialize;
use sqlx::query_file_as;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    error::StoreError,
    page::{Page, PageRequest, Place},
    pool::Reader,
    tenant::ManagedBy,
    wire,
};

/// A plan.
#[derive(Debug, Clone, Serialize)]
pub struct PlanInfo {
    /// Its id.
    pub id: PlanId,
    /// Its name.
    pub name: String,
    /// Its limits by name.
    pub limits: BTreeMap<String, PlanLimitDoc>,
    /// Who rules it.
    pub managed_by: ManagedBy,
    /// When it was made.
    pub created_at: UtcMicros,
}

/// Plans, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(reader: &impl Reader, page: &PageRequest) -> Result<Page<PlanInfo>, StoreError> {
    let place = page.place()?;
    let (at, after) = (place.as_ref().map(|place| place.at), place.as_ref().map(Place::uuid).transpose()?);
    let rows = query_file_as!(Row, "queries/plan/list.sql", at, after, page.rows()).fetch_all(reader.reader_pool()).await?;
    let items = rows.into_iter().map(Row::into_info).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(page, items, |info| (info.created_at, info.id.uuid().to_string())))
}

/// One plan by name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(reader: &impl Reader, name: &str) -> Result<PlanInfo, StoreError> {
    let row = query_file_as!(Row, "queries/plan/by_name.sql", name).fetch_optional(reader.reader_pool()).await?;
    row.ok_or_else(|| StoreError::not_found("plan", name))?.into_info()
}

/// A row of `plan`.
#[derive(Debug)]
struct Row {
    id: Uuid,
    name: String,
    body: serde_json::Value,
    managed_by: String,
    created_at: OffsetDateTime,
}

impl Row {
    fn into_info(self) -> Result<PlanInfo, StoreError> {
        let body: PlanDoc = serde_json::from_value(self.body).map_err(|error| wire::corrupt("plan", error.to_string()))?;
        Ok(PlanInfo {
            id: PlanId::new(self.id),
            name: self.name,
            limits: body.limits,
            managed_by: wire::managed_by(&self.managed_by)?,
            created_at: UtcMicros::from_datetime(self.created_at),
        })
    }
}
