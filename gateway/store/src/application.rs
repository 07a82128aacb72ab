//! Applications of consumers: they hold keys and a plan.

use model::{
    id::{ApplicationId, ConsumerId},
    time::UtcMicros,
};
use serde::Serialize;

use crate::{
    actor::Actor,
    consumer::Deleted,
    error::StoreError,
    page::{Page, PageRequest},
    pool::{Primary, Reader},
    tenant::ManagedBy,
    write::Written,
};

/// An application.
#[derive(Debug, Clone, Serialize)]
pub struct ApplicationInfo {
    /// Its id.
    pub id: ApplicationId,
    /// Its name.
    pub name: String,
    /// Its consumer.
    pub consumer: ConsumerId,
    /// The consumer's name.
    pub consumer_name: String,
    /// The name of its tenant.
    pub tenant: String,
    /// The name of its plan.
    pub plan: Option<String>,
    /// Scopes of keys that have none of their own.
    pub scopes: Vec<String>,
    /// Who rules it.
    pub managed_by: ManagedBy,
    /// When it was made.
    pub created_at: UtcMicros,
}

/// What a new application is made of; the caller has checked the form of the name.
#[derive(Debug, Clone, Copy)]
pub struct NewApplication<'a> {
    /// Its name, unique in the deployment.
    pub name: &'a str,
    /// Its consumer.
    pub consumer: ConsumerId,
    /// The name of its plan.
    pub plan: Option<&'a str>,
    /// Scopes of keys that have none of their own.
    pub scopes: &'a [String],
}

/// No application can be taken for granted.
#[derive(Debug, thiserror::Error)]
pub enum NoDefault {
    /// There is none at all.
    #[error("there is no application yet")]
    NoApplication,
    /// There are several, and none is named `default`.
    #[error("there are several applications, and none is named `default`: {}", names.join(", "))]
    Ambiguous {
        /// The first twenty, by name.
        names: Vec<String>,
    },
    /// The database did not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which applications are wanted.
#[derive(Debug, Clone, Default)]
pub struct ApplicationFilter {
    /// Only of this consumer.
    pub consumer: Option<ConsumerId>,
    /// Only of this tenant, by name.
    pub tenant: Option<String>,
}

/// Applications, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(reader: &impl Reader, filter: &ApplicationFilter, page: &PageRequest) -> Result<Page<ApplicationInfo>, StoreError> {
    todo!()
}

/// One application.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(reader: &impl Reader, id: ApplicationId) -> Result<ApplicationInfo, StoreError> {
    todo!()
}

/// One application by name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn by_name(reader: &impl Reader, name: &str) -> Result<ApplicationInfo, StoreError> {
    todo!()
}

/// The application for a key that names none: the only one, or the one named `default`.
///
/// # Errors
/// [`NoDefault`], which names the choices.
pub async fn default_application(reader: &impl Reader) -> Result<ApplicationInfo, NoDefault> {
    todo!()
}

/// Makes an application that the API rules.
///
/// # Errors
/// [`StoreError::Conflict`] when the name is taken, [`StoreError::NotFound`] without such a consumer or plan.
pub async fn create(primary: &Primary, new: NewApplication<'_>, actor: &Actor) -> Result<Written<ApplicationInfo>, StoreError> {
    todo!()
}

/// Deletes an application that the API rules; its keys end.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with the constraint `managed_by` when it belongs to the file.
pub async fn delete(primary: &Primary, id: ApplicationId, actor: &Actor) -> Result<Written<Deleted>, StoreError> {
    todo!()
}
