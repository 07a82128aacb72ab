//! API keys: made once, listed by what is public, revoked for good.

use model::{
    change::{AuthorityChange, KeyRow, KeyState, Revisions},
    id::{ApplicationId, ConsumerId},
    key::{Issued, KeyId, Purpose},
    time::UtcMicros,
};
use serde::Serialize;
use sqlx::{PgConnection, query_file, query_file_as, query_file_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    actor::Actor,
    error::StoreError,
    page::{Page, PageRequest},
    pool::{Primary, Reader},
    revision::StoredKey,
    wire,
    write::{ControlWrite, Lanes, Written},
};

/// A key without anything that authenticates.
#[derive(Debug, Clone, Serialize)]
pub struct KeyInfo {
    /// Its public id.
    pub id: KeyId,
    /// What its owner calls it.
    pub name: String,
    /// The application that holds it.
    pub application: ApplicationId,
    /// That application's name.
    pub application_name: String,
    /// The consumer behind the application.
    pub consumer: ConsumerId,
    /// That consumer's name.
    pub consumer_name: String,
    /// The name of the tenant.
    pub tenant: String,
    /// `cw_live_` or `cw_test_`.
    pub prefix: String,
    /// The last four characters of the text, all of them checksum: by them people recognize a key.
    pub last_four: String,
    /// Its own scopes; the application's when absent.
    pub scopes: Option<Vec<String>>,
    /// Whether it may be used.
    pub state: KeyState,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
    /// When it was made.
    pub created_at: UtcMicros,
    /// By whom.
    pub created_by: String,
    /// When it was revoked.
    pub revoked_at: Option<UtcMicros>,
    /// By whom.
    pub revoked_by: Option<String>,
}

/// What a new key is made of; the caller has checked the texts.
#[derive(Debug, Clone, Copy)]
pub struct NewKey<'a> {
    /// The credential that was just made.
    pub issued: &'a Issued,
    /// What its owner calls it.
    pub name: &'a str,
    /// The application that holds it.
    pub application: ApplicationId,
    /// Its own scopes; the application's when absent, none when empty.
    pub scopes: Option<&'a [String]>,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
}

/// Which keys are wanted.
#[derive(Debug, Clone, Default)]
pub struct KeyFilter {
    /// Only of this application.
    pub application: Option<ApplicationId>,
    /// Only in this state.
    pub state: Option<KeyState>,
    /// Only of this tenant, by name.
    pub tenant: Option<String>,
}

/// What a revocation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// The heads afterwards: a node that has applied them refuses the key.
    pub revisions: Revisions,
    /// When the key was revoked.
    pub at: UtcMicros,
    /// It had been revoked before; nothing was changed now.
    pub already: bool,
}

/// Keys, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(reader: &impl Reader, filter: &KeyFilter, page: &PageRequest) -> Result<Page<KeyInfo>, StoreError> {
    let place = page.place()?;
    let (at, after) = (place.as_ref().map(|place| place.at), place.as_ref().map(|place| place.rest.as_str()));
    let application = filter.application.map(ApplicationId::uuid);
    let state = filter.state.map(KeyState::as_str);
    let rows = query_file_as!(Row, "queries/api_key/list.sql", application, state, filter.tenant.as_deref(), at, after, page.rows())
        .fetch_all(reader.reader_pool())
        .await?;
    let items = rows.into_iter().map(Row::into_info).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(page, items, |info| (info.created_at, info.id.to_string())))
}

/// One key.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(reader: &impl Reader, id: &KeyId) -> Result<KeyInfo, StoreError> {
    let mut connection = reader.reader_pool().acquire().await?;
    find(&mut connection, id).await
}

/// Stores a key: its digest and what is public.
///
/// # Errors
/// [`StoreError::NotFound`] without such an application; [`StoreError::Conflict`] with `api_key_pk` when the random id is
/// taken (draw again).
pub async fn create(primary: &Primary, new: NewKey<'_>, actor: &Actor) -> Result<Written<KeyInfo>, StoreError> {
    let (prefix, last_four) = shown(new.issued)?;
    let expires_at = wire::instant(new.expires_at)?;
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let (id, digest, version) = (new.issued.id, new.issued.digest.0, new.issued.pepper_version);
    query_file!(
        "queries/api_key/insert.sql",
        id.as_str(),
        digest.as_slice(),
        i32::from(version),
        new.application.uuid(),
        new.name,
        prefix,
        last_four,
        new.scopes,
        expires_at,
        actor.to_string()
    )
    .execute(&mut *write.tx)
    .await
    .map_err(|error| missing_application(error, new.application))?;
    write.authority(&AuthorityChange::Key(KeyRow {
        id,
        application: new.application,
        digest,
        pepper_version: version,
        scopes: new.scopes.map(<[String]>::to_vec),
        state: KeyState::Active,
        expires_at: new.expires_at,
    }))?;
    let item = find(&mut write.tx, &id).await?;
    Ok(Written { item, revisions: write.commit().await? })
}

/// Revokes a key; doing it again changes nothing and says so.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn revoke(primary: &Primary, id: &KeyId, actor: &Actor) -> Result<Revoked, StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let row = query_file!("queries/api_key/revoke.sql", id.as_str(), actor.to_string()).fetch_optional(&mut *write.tx).await?;
    let Some(row) = row else {
        let before = query_file_scalar!("queries/api_key/revoked_at.sql", id.as_str()).fetch_optional(&mut *write.tx).await?;
        let at = before.flatten().ok_or_else(|| StoreError::not_found("key", id.to_string()))?;
        let revisions = write.heads().await?;
        write.rollback().await?;
        return Ok(Revoked { revisions, at: UtcMicros::from_datetime(at), already: true });
    };
    let stored = StoredKey {
        digest: row.digest,
        pepper_version: row.pepper_version,
        application: ApplicationId::new(row.application_id),
        scopes: row.scopes,
        state: row.state,
        expires_at: UtcMicros::from_datetime(row.expires_at),
    };
    let change = match stored.into_row(&row.id) {
        Ok(row) => AuthorityChange::Key(row),
        // A row that nodes could not read must still end: they forget it.
        Err(_) => AuthorityChange::KeyRemoved { id: *id },
    };
    write.authority(&change)?;
    let at = UtcMicros::from_datetime(row.revoked_at);
    Ok(Revoked { revisions: write.commit().await?, at, already: false })
}

/// What lists may show of a credential: its kind, and four characters of its checksum.
fn shown(issued: &Issued) -> Result<(&'static str, &str), StoreError> {
    let text = issued.text.expose_secret();
    let purpose = [Purpose::Live, Purpose::Test].into_iter().find(|purpose| text.starts_with(purpose.prefix()));
    let last_four = text.len().checked_sub(4).and_then(|at| text.get(at..));
    match (purpose, last_four) {
        (Some(purpose), Some(last_four)) => Ok((purpose.prefix(), last_four)),
        _ => Err(StoreError::invalid("the credential is not an API key")),
    }
}

/// The foreign key says it, without another look-up.
fn missing_application(error: sqlx::Error, application: ApplicationId) -> StoreError {
    let error = StoreError::from(error);
    if error.breaks("api_key_application_fk") { StoreError::not_found("application", application.to_string()) } else { error }
}

async fn find(connection: &mut PgConnection, id: &KeyId) -> Result<KeyInfo, StoreError> {
    let row = query_file_as!(Row, "queries/api_key/find.sql", id.as_str()).fetch_optional(connection).await?;
    row.ok_or_else(|| StoreError::not_found("key", id.to_string()))?.into_info()
}

/// A row of `api_key`, with the names of what it refers to.
#[derive(Debug)]
struct Row {
    id: String,
    name: String,
    application_id: Uuid,
    application_name: String,
    consumer_id: Uuid,
    consumer_name: String,
    tenant: String,
    prefix: String,
    last_four: String,
    scopes: Option<Vec<String>>,
    state: String,
    expires_at: OffsetDateTime,
    created_at: OffsetDateTime,
    created_by: String,
    revoked_at: Option<OffsetDateTime>,
    revoked_by: Option<String>,
}

impl Row {
    fn into_info(self) -> Result<KeyInfo, StoreError> {
        Ok(KeyInfo {
            id: KeyId::parse(&self.id).ok_or_else(|| wire::corrupt("key id", self.id))?,
            name: self.name,
            application: ApplicationId::new(self.application_id),
            application_name: self.application_name,
            consumer: ConsumerId::new(self.consumer_id),
            consumer_name: self.consumer_name,
            tenant: self.tenant,
            prefix: self.prefix,
            last_four: self.last_four,
            scopes: self.scopes,
            state: KeyState::parse(&self.state).ok_or_else(|| wire::corrupt("key state", self.state))?,
            expires_at: UtcMicros::from_datetime(self.expires_at),
            created_at: UtcMicros::from_datetime(self.created_at),
            created_by: self.created_by,
            revoked_at: self.revoked_at.map(UtcMicros::from_datetime),
            revoked_by: self.revoked_by,
        })
    }
}
