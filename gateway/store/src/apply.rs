//! A compiled document becomes rows, in one transaction.

use model::{change::Revisions, document::Document, key::KeyId};

use crate::{actor::Actor, error::StoreError, pool::Primary};

/// Whether an apply is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is committed.
    Commit,
    /// It is computed by the same statements and rolled back: `diff`.
    DryRun,
}

/// The kind of a resource in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// A region.
    Region,
    /// A domain.
    Domain,
    /// A tenant.
    Tenant,
    /// A plan.
    Plan,
    /// An API description.
    Api,
    /// A service.
    Upstream,
    /// A route.
    Route,
    /// A consumer.
    Consumer,
    /// An application.
    Application,
}

/// One resource in a report.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct ResourceName {
    /// What it is.
    pub kind: ResourceKind,
    /// Its name.
    pub name: String,
}

/// What an apply did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ApplyReport {
    /// New resources.
    pub created: Vec<ResourceName>,
    /// Resources with other content than before.
    pub updated: Vec<ResourceName>,
    /// Resources of the file that the document no longer has.
    pub deleted: Vec<ResourceName>,
    /// Resources that were so already.
    pub unchanged: Vec<ResourceName>,
    /// Keys that ended because their application was deleted.
    pub keys_revoked: Vec<KeyId>,
    /// The heads afterwards; after a dry run, the heads as they are.
    pub revisions: Revisions,
}

impl ApplyReport {
    /// True when nothing was or would be changed.
    pub fn is_empty(&self) -> bool {
        self.created.is_empty() && self.updated.is_empty() && self.deleted.is_empty()
    }
}

/// Makes the rows that are managed by the file equal to the document: creates, updates, and prunes its own.
///
/// The caller has compiled the document: nothing here judges it.
///
/// # Errors
/// [`StoreError::Conflict`] with the constraint `managed_by` when a name of the document belongs to the API, or with the
/// name of a foreign key when something to be pruned is still used by a row of the API.
pub async fn apply(primary: &Primary, document: &Document, mode: Mode, actor: &Actor) -> Result<ApplyReport, StoreError> {
    todo!()
}
