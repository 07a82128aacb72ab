//! Consumers: the organizations and persons that call.

use model::{
    change::{AuthorityChange, ConsumerRow},
    id::ConsumerId,
    key::KeyId,
    time::UtcMicros,
};
use serde::Serialize;
use sqlx::{PgConnection, query_file, query_file_as, query_file_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    actor::Actor,
    commit,
    error::StoreError,
    key::life::Patch,
    page::{Page, PageRequest, Place},
    pool::{Primary, Reader},
    tenant::ManagedBy,
    wire,
    write::{ControlWrite, Lanes, Written},
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
    /// Labels of regions, one of which a region must have that serves it; any may when absent.
    pub residency: Option<Vec<String>>,
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
    /// Labels of regions, each of which a region has.
    pub residency: Option<&'a [String]>,
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
    let place = page.place()?;
    let (at, after) = (place.as_ref().map(|place| place.at), place.as_ref().map(Place::uuid).transpose()?);
    let rows = query_file_as!(Row, "queries/consumer/list.sql", tenant, at, after, page.rows()).fetch_all(reader.reader_pool()).await?;
    let items = rows.into_iter().map(Row::into_info).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(page, items, |info| (info.created_at, info.id.uuid().to_string())))
}

/// One consumer.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(reader: &impl Reader, id: ConsumerId) -> Result<ConsumerInfo, StoreError> {
    let mut connection = reader.reader_pool().acquire().await?;
    find(&mut connection, Some(id.uuid()), None).await?.ok_or_else(|| StoreError::not_found("consumer", id.to_string()))
}

/// One consumer by name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn by_name(reader: &impl Reader, name: &str) -> Result<ConsumerInfo, StoreError> {
    let mut connection = reader.reader_pool().acquire().await?;
    find(&mut connection, None, Some(name)).await?.ok_or_else(|| StoreError::not_found("consumer", name))
}

/// Makes a consumer that the API rules.
///
/// # Errors
/// [`StoreError::Conflict`] when the name is taken, [`StoreError::NotFound`] without such a tenant,
/// [`StoreError::Invalid`] when no tenant is named and there is not exactly one; [`StoreError::NotFound`] of a `label` that no region has.
pub async fn create(primary: &Primary, new: NewConsumer<'_>, actor: &Actor) -> Result<Written<ConsumerInfo>, StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let item = add(&mut write, new).await?;
    Ok(Written { item, revisions: write.commit().await? })
}

/// The same as a part of a larger write.
pub(crate) async fn add(write: &mut ControlWrite, new: NewConsumer<'_>) -> Result<ConsumerInfo, StoreError> {
    let tenants = query_file!("queries/tenant/choose.sql", new.tenant).fetch_all(&mut *write.tx).await?;
    let tenant = match (tenants.as_slice(), new.tenant) {
        ([only], _) => only,
        ([], Some(name)) => return Err(StoreError::not_found("tenant", name)),
        ([], None) => return Err(StoreError::invalid("there is no tenant yet")),
        (_, _) => return Err(StoreError::invalid("say which tenant the consumer belongs to: there are several")),
    };
    let id = Uuid::now_v7();
    known_labels(&mut write.tx, new.residency.unwrap_or_default()).await?;
    query_file!("queries/consumer/insert.sql", id, new.name, tenant.tenant_id, new.residency).execute(&mut *write.tx).await?;
    let residency = new.residency.map(<[String]>::to_vec);
    let row = ConsumerRow { id: ConsumerId::new(id), name: new.name.to_owned(), tenant: tenant.name.clone(), residency };
    write.authority(&AuthorityChange::Consumer(row))?;
    find(&mut write.tx, Some(id), None).await?.ok_or_else(|| StoreError::not_found("consumer", new.name))
}

/// Changes where the data of a consumer may lie. One that is so already gets no revision.
///
/// # Errors
/// [`StoreError::NotFound`], also of a `label` that no region has; [`StoreError::Conflict`] with the constraint `managed_by` when it belongs to
/// the file.
pub async fn change(primary: &Primary, id: ConsumerId, residency: Patch<Vec<String>>, actor: &Actor) -> Result<Written<ConsumerInfo>, StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let before = find(&mut write.tx, Some(id.uuid()), None).await?.ok_or_else(|| StoreError::not_found("consumer", id.to_string()))?;
    refuse_file("consumer", &before.name, before.managed_by)?;
    if let Patch::Set(labels) = &residency {
        known_labels(&mut write.tx, labels).await?;
    }
    let residency = residency.apply(before.residency.clone());
    if residency == before.residency {
        let revisions = write.heads().await?;
        write.rollback().await?;
        // The one before may have been cut short while it waited for its standby, and this may be its repetition (T6).
        commit::barrier(primary).await?;
        return Ok(Written { item: before, revisions });
    }
    query_file!("queries/consumer/change.sql", id.uuid(), residency.as_deref()).execute(&mut *write.tx).await?;
    let row = ConsumerRow { id, name: before.name.clone(), tenant: before.tenant.clone(), residency: residency.clone() };
    write.authority(&AuthorityChange::Consumer(row))?;
    Ok(Written { item: ConsumerInfo { residency, ..before }, revisions: write.commit().await? })
}

/// The labels that regions have.
///
/// # Errors
/// [`StoreError`].
pub async fn labels(reader: &impl Reader) -> Result<Vec<String>, StoreError> {
    Ok(query_file_scalar!("queries/gateway_resource/labels.sql").fetch_all(reader.reader_pool()).await?)
}

/// Refuses a label that no region has.
async fn known_labels(connection: &mut PgConnection, labels: &[String]) -> Result<(), StoreError> {
    if labels.is_empty() {
        return Ok(());
    }
    let known = query_file_scalar!("queries/gateway_resource/labels.sql").fetch_all(connection).await?;
    let unknown = labels.iter().find(|label| !known.contains(label));
    unknown.map_or(Ok(()), |label| Err(StoreError::not_found("label", label)))
}

/// Names of consumers that ask for labels of which no region has one, `most` of them: nothing can serve them.
pub(crate) async fn adrift(connection: &mut PgConnection, most: u32) -> Result<Vec<String>, StoreError> {
    Ok(query_file_scalar!("queries/consumer/adrift.sql", i64::from(most)).fetch_all(connection).await?)
}

/// Deletes a consumer that the API rules, with its applications; their keys end.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with the constraint `managed_by` when it, or an application of it,
/// belongs to the file.
pub async fn delete(primary: &Primary, id: ConsumerId, actor: &Actor) -> Result<Written<Deleted>, StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let consumer = find(&mut write.tx, Some(id.uuid()), None).await?.ok_or_else(|| StoreError::not_found("consumer", id.to_string()))?;
    refuse_file("consumer", &consumer.name, consumer.managed_by)?;
    let applications = query_file!("queries/application/of_consumer.sql", id.uuid()).fetch_all(&mut *write.tx).await?;
    for application in &applications {
        refuse_file("application", &application.name, wire::managed_by(&application.managed_by)?)?;
    }
    let ids: Vec<Uuid> = applications.iter().map(|application| application.application_id).collect();
    let keys_revoked = write.remove_applications(&ids).await?;
    query_file!("queries/consumer/delete.sql", id.uuid()).execute(&mut *write.tx).await?;
    write.authority(&AuthorityChange::ConsumerRemoved { id })?;
    let item = Deleted { applications: applications.into_iter().map(|application| application.name).collect(), keys_revoked };
    Ok(Written { item, revisions: write.commit().await? })
}

/// Refuses to change through the API what the file rules: the next apply would undo it.
pub(crate) fn refuse_file(what: &str, name: &str, managed_by: ManagedBy) -> Result<(), StoreError> {
    match managed_by {
        ManagedBy::Api => Ok(()),
        ManagedBy::File => Err(StoreError::Conflict {
            constraint: "managed_by".to_owned(),
            detail: format!("{what} `{name}` belongs to the gateway file; remove it there and apply"),
        }),
    }
}

async fn find(connection: &mut PgConnection, id: Option<Uuid>, name: Option<&str>) -> Result<Option<ConsumerInfo>, StoreError> {
    let row = query_file_as!(Row, "queries/consumer/find.sql", id, name).fetch_optional(connection).await?;
    row.map(Row::into_info).transpose()
}

/// A row of `consumer`, with its tenant's name.
#[derive(Debug)]
struct Row {
    id: Uuid,
    name: String,
    tenant: String,
    residency: Option<Vec<String>>,
    managed_by: String,
    created_at: OffsetDateTime,
}

impl Row {
    fn into_info(self) -> Result<ConsumerInfo, StoreError> {
        Ok(ConsumerInfo {
            id: ConsumerId::new(self.id),
            name: self.name,
            tenant: self.tenant,
            residency: self.residency,
            managed_by: wire::managed_by(&self.managed_by)?,
            created_at: UtcMicros::from_datetime(self.created_at),
        })
    }
}
