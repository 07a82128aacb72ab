//! Consumers: the organizations and persons that call.

use model::{id::ConsumerId, key::KeyId, time::UtcMicros};
use serde::Serialize;

use crate::{
    actor::Actor,
    error::StoreError,
    page::{Page, PageRequest},
    pool::{Primary, Reader},
    tenant::ManagedBy,
    write::Written,
};

/// A consumer.
#[derive(Debug, Clone, Serialize)]
pub struct ConsumerInfo {
    /// Its id.
    pub id: ConsumerId,
    /// Its name.
    pub name: String,
    /// The name of its tenant.
    pub tenant: String,
    /// Who rules it.
    pub managed_by: ManagedBy,
    /// When it was made.
    pub created_at: UtcMicros,
}

/// What a new consumer is made of; the caller has checked the form of the name.
#[derive(Debug, Clone, Copy)]
pub struct NewConsumer<'a> {
    /// Its name, unique in the deployment.
    pub name: &'a str,
    /// The name of its tenant; the only one when absent.
    pub tenant: Option<&'a str>,
}

/// What a deletion took with it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Deleted {
    /// Names of applications that were deleted.
    pub applications: Vec<String>,
    /// Keys that ended.
    pub keys_revoked: Vec<KeyId>,
}

/// Consumers, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(reader: &impl Reader, tenant: Option<&str>, page: &PageRequest) -> Result<Page<ConsumerInfo>, StoreError> {
    todo!()
}

/// One consumer.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(reader: &impl Reader, id: ConsumerId) -> Result<ConsumerInfo, StoreError> {
    todo!()
}

/// One consumer by name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn by_name(reader: &impl Reader, name: &str) -> Result<ConsumerInfo, StoreError> {
    todo!()
}

/// Makes a consumer that the API rules.
///
/// # Errors
/// [`StoreError::Conflict`] when the name is taken, [`StoreError::NotFound`] without such a tenant,
/// [`StoreError::Invalid`] when no tenant is named and there is not exactly one.
pub async fn create(primary: &Primary, new: NewConsumer<'_>, actor: &Actor) -> Result<Written<ConsumerInfo>, StoreError> {
    todo!()
}

/// Deletes a consumer that the API rules, with its applications; their keys end.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with the constraint `managed_by` when it, or an application of it,
/// belongs to the file.
pub async fn delete(primary: &Primary, id: ConsumerId, actor: &Actor) -> Result<Written<Deleted>, StoreError> {
    todo!()
}
