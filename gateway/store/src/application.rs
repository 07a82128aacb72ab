//! Applications of consumers: they hold keys and a plan.

use model::{
    change::{ApplicationRow, AuthorityChange},
    id::{ApplicationId, ConsumerId},
    time::UtcMicros,
};
use serde::Serialize;
use sqlx::{PgConnection, query_file, query_file_as, query_file_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    actor::Actor,
    consumer::{Deleted, refuse_file},
    error::StoreError,
    page::{Page, PageRequest, Place},
    pool::{Primary, Reader},
    tenant::ManagedBy,
    wire,
    write::{ControlWrite, Lanes, Written},
};

/// How many names an error lists.
const NAMES_MAX: usize = 20;

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
    /// How many applications the consumer may have with it; any number when absent.
    pub at_most: Option<u32>,
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
    let place = page.place()?;
    let (at, after) = (place.as_ref().map(|place| place.at), place.as_ref().map(Place::uuid).transpose()?);
    let consumer = filter.consumer.map(ConsumerId::uuid);
    let rows = query_file_as!(Row, "queries/application/list.sql", consumer, filter.tenant.as_deref(), at, after, page.rows())
        .fetch_all(reader.reader_pool())
        .await?;
    let items = rows.into_iter().map(Row::into_info).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(page, items, |info| (info.created_at, info.id.uuid().to_string())))
}

/// One application.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(reader: &impl Reader, id: ApplicationId) -> Result<ApplicationInfo, StoreError> {
    let mut connection = reader.reader_pool().acquire().await?;
    find(&mut connection, Some(id.uuid()), None).await?.ok_or_else(|| StoreError::not_found("application", id.to_string()))
}

/// One application by name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn by_name(reader: &impl Reader, name: &str) -> Result<ApplicationInfo, StoreError> {
    let mut connection = reader.reader_pool().acquire().await?;
    find(&mut connection, None, Some(name)).await?.ok_or_else(|| StoreError::not_found("application", name))
}

/// The application for a key that names none: the only one, or the one named `default`.
///
/// # Errors
/// [`NoDefault`], which names the choices.
pub async fn default_application(reader: &impl Reader) -> Result<ApplicationInfo, NoDefault> {
    let rows = query_file!("queries/application/default.sql").fetch_all(reader.reader_pool()).await.map_err(StoreError::from)?;
    match rows.as_slice() {
        [] => Err(NoDefault::NoApplication),
        [first, rest @ ..] if rest.is_empty() || first.name == "default" => Ok(get(reader, ApplicationId::new(first.application_id)).await?),
        rows => Err(NoDefault::Ambiguous { names: rows.iter().take(NAMES_MAX).map(|row| row.name.clone()).collect() }),
    }
}

/// Makes an application that the API rules.
///
/// # Errors
/// [`StoreError::Conflict`] when the name is taken, and with `application_count` when the consumer has `at_most` already;
/// [`StoreError::NotFound`] without such a consumer or plan.
pub async fn create(primary: &Primary, new: NewApplication<'_>, actor: &Actor) -> Result<Written<ApplicationInfo>, StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    if let Some(most) = new.at_most {
        // The lock on the head makes it exact.
        let count = query_file_scalar!("queries/application/count.sql", new.consumer.uuid()).fetch_one(&mut *write.tx).await?;
        if count >= i64::from(most) {
            return Err(StoreError::conflict("application_count", format!("the consumer has {count} applications, and may have {most}")));
        }
    }
    let plan = match new.plan {
        Some(name) => Some(
            query_file!("queries/plan/by_name.sql", name)
                .fetch_optional(&mut *write.tx)
                .await?
                .ok_or_else(|| StoreError::not_found("plan", name))?
                .id,
        ),
        None => None,
    };
    let id = Uuid::now_v7();
    query_file!("queries/application/insert.sql", id, new.name, new.consumer.uuid(), plan, new.scopes)
        .execute(&mut *write.tx)
        .await
        .map_err(|error| missing_consumer(error, new.consumer))?;
    write.authority(&AuthorityChange::Application(ApplicationRow {
        id: ApplicationId::new(id),
        name: new.name.to_owned(),
        consumer: new.consumer,
        plan: new.plan.map(str::to_owned),
        scopes: new.scopes.to_vec(),
    }))?;
    let item = find(&mut write.tx, Some(id), None).await?.ok_or_else(|| StoreError::not_found("application", new.name))?;
    Ok(Written { item, revisions: write.commit().await? })
}

/// Deletes an application that the API rules; its keys end.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with the constraint `managed_by` when it belongs to the file.
pub async fn delete(primary: &Primary, id: ApplicationId, actor: &Actor) -> Result<Written<Deleted>, StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let found = find(&mut write.tx, Some(id.uuid()), None).await?.ok_or_else(|| StoreError::not_found("application", id.to_string()))?;
    refuse_file("application", &found.name, found.managed_by)?;
    let keys_revoked = write.remove_applications(&[id.uuid()]).await?;
    let item = Deleted { applications: vec![found.name], keys_revoked };
    Ok(Written { item, revisions: write.commit().await? })
}

/// The foreign key says it, without another look-up.
fn missing_consumer(error: sqlx::Error, consumer: ConsumerId) -> StoreError {
    let error = StoreError::from(error);
    if error.breaks("application_consumer_fk") { StoreError::not_found("consumer", consumer.to_string()) } else { error }
}

async fn find(connection: &mut PgConnection, id: Option<Uuid>, name: Option<&str>) -> Result<Option<ApplicationInfo>, StoreError> {
    let row = query_file_as!(Row, "queries/application/find.sql", id, name).fetch_optional(connection).await?;
    row.map(Row::into_info).transpose()
}

/// A row of `application`, with the names of what it refers to.
#[derive(Debug)]
struct Row {
    id: Uuid,
    name: String,
    consumer_id: Uuid,
    consumer_name: String,
    tenant: String,
    plan: Option<String>,
    scopes: Vec<String>,
    managed_by: String,
    created_at: OffsetDateTime,
}

impl Row {
    fn into_info(self) -> Result<ApplicationInfo, StoreError> {
        Ok(ApplicationInfo {
            id: ApplicationId::new(self.id),
            name: self.name,
            consumer: ConsumerId::new(self.consumer_id),
            consumer_name: self.consumer_name,
            tenant: self.tenant,
            plan: self.plan,
            scopes: self.scopes,
            managed_by: wire::managed_by(&self.managed_by)?,
            created_at: UtcMicros::from_datetime(self.created_at),
        })
    }
}
