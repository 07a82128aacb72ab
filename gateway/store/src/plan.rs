//! Plans: named limits that applications share. They come from the file; here they are read.

use std::collections::BTreeMap;

use model::{document::PlanLimitDoc, id::PlanId, time::UtcMicros};
use serde::Serialize;

use crate::{
    error::StoreError,
    page::{Page, PageRequest},
    pool::Reader,
    tenant::ManagedBy,
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
    todo!()
}

/// One plan by name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(reader: &impl Reader, name: &str) -> Result<PlanInfo, StoreError> {
    todo!()
}
