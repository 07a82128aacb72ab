//! A compiled document becomes rows, in one transaction.

mod callers;
mod resources;

use model::{change::Revisions, document::Document, key::KeyId};

use crate::{
    actor::Actor,
    consumer,
    error::StoreError,
    pool::Primary,
    write::{ControlWrite, Lanes},
};

/// Consumers that a report names: whoever sees so many knows that a label was taken away.
pub const ADRIFT_MAX: u32 = 100;

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
    /// Who issues tokens.
    Issuer,
    /// Who vouches for client certificates.
    CertificateAuthority,
    /// Who signs requests.
    Signer,
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

impl ResourceKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Region,
        Self::Domain,
        Self::Tenant,
        Self::Plan,
        Self::Issuer,
        Self::CertificateAuthority,
        Self::Signer,
        Self::Api,
        Self::Upstream,
        Self::Route,
        Self::Consumer,
        Self::Application,
    ];

    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Region => "region",
            Self::Domain => "domain",
            Self::Tenant => "tenant",
            Self::Plan => "plan",
            Self::Issuer => "issuer",
            Self::CertificateAuthority => "certificate_authority",
            Self::Signer => "signer",
            Self::Api => "api",
            Self::Upstream => "upstream",
            Self::Route => "route",
            Self::Consumer => "consumer",
            Self::Application => "application",
        }
    }
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
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
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
    /// Consumers that no region may serve afterwards, because none has a label that they ask for; at most [`ADRIFT_MAX`] of them.
    pub consumers_adrift: Vec<String>,
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
/// One transaction, authority locked first, at most one revision a lane; a document that changes nothing gets none. The
/// caller has compiled the document: nothing here judges it.
///
/// # Errors
/// [`StoreError::Conflict`] with the constraint `managed_by` when a name of the document belongs to the API, or with the
/// name of a foreign key when something to be pruned is still used by a row of the API.
pub async fn apply(primary: &Primary, document: &Document, mode: Mode, actor: &Actor) -> Result<ApplyReport, StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Both, actor).await?;
    let mut report = ApplyReport::default();
    // What others refer to comes first and goes last.
    let wanted = resources::Wanted::from_document(document)?;
    resources::put(&mut write, &wanted, &mut report).await?;
    callers::put(&mut write, document, &mut report).await?;
    callers::prune(&mut write, document, &mut report).await?;
    resources::prune(&mut write, &wanted, &mut report).await?;
    report.consumers_adrift = consumer::adrift(&mut write.tx, ADRIFT_MAX).await?;
    match mode {
        Mode::Commit => report.revisions = write.commit().await?,
        Mode::DryRun => {
            report.revisions = write.heads().await?;
            write.rollback().await?;
        }
    }
    Ok(report)
}

/// How a wanted row compares with the stored one.
#[derive(Debug)]
struct Comparison {
    kind: ResourceKind,
    name: String,
    /// Who rules the stored row; absent when there is none.
    managed_by: Option<String>,
    changed: bool,
    /// Only its place in the document differs.
    moved: bool,
}

/// What is to be done about a wanted row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Todo {
    Write,
    Move,
    Nothing,
}

impl Comparison {
    /// Enters the row into the report, and says what is to be done.
    ///
    /// # Errors
    /// The stored row belongs to the API.
    fn judge(&self, report: &mut ApplyReport) -> Result<Todo, StoreError> {
        let (section, todo) = match self.managed_by.as_deref() {
            None => (&mut report.created, Todo::Write),
            Some("file") if self.changed => (&mut report.updated, Todo::Write),
            Some("file") => (&mut report.unchanged, if self.moved { Todo::Move } else { Todo::Nothing }),
            Some(_) => {
                let detail = format!("{} `{}` belongs to the API; give the one in the document another name", self.kind.as_str(), self.name);
                return Err(StoreError::Conflict { constraint: "managed_by".to_owned(), detail });
            }
        };
        section.push(ResourceName { kind: self.kind, name: self.name.clone() });
        Ok(todo)
    }
}
