//! API keys: made once, listed by what is public, revoked for good. What they go through in between is in [`life`].

use model::{
    change::{AuthorityChange, Environment, KeyRow, KeyState, Revisions},
    id::{ApplicationId, ConsumerId},
    key::{Issued, KeyId},
    restriction::{Restrictions, UNRESTRICTED},
    time::UtcMicros,
};
use serde::Serialize;
use sqlx::{PgConnection, query_file, query_file_as, query_file_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    actor::{Actor, ActorKind},
    commit,
    error::StoreError,
    notification::{self, Kind},
    page::{Page, PageRequest},
    pool::{Primary, Reader},
    revision, wire,
    write::{ControlWrite, Lanes, Written},
};

pub mod decide;
pub mod import;
pub mod life;
pub mod pepper;
pub mod prove;
mod stored;

use self::decide::Decision;
pub(crate) use self::stored::{KeyColumns, row_on};

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
    /// For which traffic it is.
    pub environment: Environment,
    /// The last four characters of the text, all of them checksum: by them people recognize a key. Empty where another system has issued
    /// the text.
    pub last_four: String,
    /// Its own scopes; the application's when absent.
    pub scopes: Option<Vec<String>>,
    /// The name of its own plan; the application's when absent.
    pub plan: Option<String>,
    /// Where it may be used.
    pub restrictions: Restrictions,
    /// Whether it may be used.
    pub state: KeyState,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
    /// When it was made.
    pub created_at: UtcMicros,
    /// By whom.
    pub created_by: String,
    /// When it got its present secret, if that is not its first.
    pub rolled_at: Option<UtcMicros>,
    /// The secret before that, while it is still taken or has just ended.
    pub previous: Option<PreviousInfo>,
    /// When it was revoked.
    pub revoked_at: Option<UtcMicros>,
    /// By whom.
    pub revoked_by: Option<String>,
    /// Why.
    pub revoked_reason: Option<RevokedReason>,
    /// Who switched it off, if it is.
    pub disabled_by: Option<String>,
    /// Which other system has issued it, and what it is called there, if it was imported.
    pub imported: Option<ImportedFrom>,
    /// What was decided about it, if it has waited for approval.
    pub decision: Option<Box<Decision>>,
}

/// Where a key comes from that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportedFrom {
    /// The system, as the operator calls it.
    pub system: String,
    /// What the key is called there.
    pub source: String,
    /// Whether its text is verified at its first use, which has not come yet.
    pub awaits_first_use: bool,
}

impl KeyInfo {
    /// Whether an operator has switched it off: then its team does not switch it on again.
    pub fn is_off_by_owner(&self) -> bool {
        let account = ActorKind::Account.as_str();
        self.disabled_by.as_deref().is_some_and(|by| by.split_once(':').is_none_or(|(kind, _)| kind != account))
    }
}

/// A secret that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreviousInfo {
    /// The last four characters of its text.
    pub last_four: String,
    /// When it stops being valid.
    pub until: UtcMicros,
}

/// Why a key was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokedReason {
    /// Somebody wanted it so.
    Asked,
    /// It was seen where everybody can read it.
    Leaked,
    /// It waited for approval, which was refused.
    Refused,
}

impl RevokedReason {
    /// The name in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Leaked => "leaked",
            Self::Refused => "refused",
        }
    }

    /// Reads that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Asked, Self::Leaked, Self::Refused].into_iter().find(|reason| reason.as_str() == text)
    }
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
    /// The name of its own plan; the application's when absent.
    pub plan: Option<&'a str>,
    /// Where it may be used.
    pub restrictions: &'a Restrictions,
    /// Whether it has to be approved first.
    pub state: KeyState,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
    /// Says that a repeated call is the same call.
    pub call: Option<Call>,
    /// How many keys that are not revoked the application may have with it; any number when absent.
    pub at_most: Option<u32>,
}

impl<'a> NewKey<'a> {
    /// A key that may be used at once, everywhere, with what its application has.
    pub const fn of(issued: &'a Issued, name: &'a str, application: ApplicationId, expires_at: UtcMicros) -> Self {
        let restrictions = &UNRESTRICTED;
        let state = KeyState::Active;
        Self { issued, name, application, scopes: None, plan: None, restrictions, state, expires_at, call: None, at_most: None }
    }
}

/// A call that may be repeated (Idempotency-Key).
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Who calls, and the key of the call, digested together.
    pub token: [u8; 32],
    /// What is asked for, digested.
    pub fingerprint: [u8; 32],
}

/// What a call for a new key came to.
#[derive(Debug, Clone)]
pub enum Created {
    /// The key was made.
    New(Written<KeyInfo>),
    /// The same call has made it before; its secret was shown then.
    Before(KeyInfo),
}

/// Which keys are wanted.
#[derive(Debug, Clone, Default)]
pub struct KeyFilter {
    /// Only of this application.
    pub application: Option<ApplicationId>,
    /// Only of this consumer's applications.
    pub consumer: Option<ConsumerId>,
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
    let consumer = filter.consumer.map(ConsumerId::uuid);
    let state = filter.state.map(KeyState::as_str);
    let rows = query_file_as!(Row, "queries/api_key/list.sql", application, consumer, state, filter.tenant.as_deref(), at, after, page.rows());
    let rows = rows.fetch_all(reader.reader_pool()).await?;
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

/// Keys of some consumers that have leaked since an instant, newest first: their ids and names.
///
/// # Errors
/// [`StoreError`].
pub async fn leaked(reader: &impl Reader, consumers: &[ConsumerId], since: UtcMicros, most: u32) -> Result<Vec<(String, String)>, StoreError> {
    let consumers: Vec<Uuid> = consumers.iter().map(|consumer| consumer.uuid()).collect();
    let rows = query_file!("queries/api_key/leaked.sql", &consumers, wire::instant(since)?, i64::from(most));
    Ok(rows.fetch_all(reader.reader_pool()).await?.into_iter().map(|row| (row.id, row.name)).collect())
}

/// What proves a key, and what it may: for whoever has to check a secret.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn secrets(reader: &impl Reader, id: &KeyId) -> Result<KeyRow, StoreError> {
    let mut connection = reader.reader_pool().acquire().await?;
    row_on(&mut connection, id).await
}

/// Stores a key: its digest and what is public.
///
/// # Errors
/// [`StoreError::NotFound`] without such an application or plan; [`StoreError::Conflict`] with `api_key_pk` when the random id
/// is taken (draw again), with `create_call` when the same call has asked for something else before, and with `key_count` when the
/// application has `at_most` already.
pub async fn create(primary: &Primary, new: NewKey<'_>, actor: &Actor) -> Result<Created, StoreError> {
    let environment = Environment::of(new.issued.purpose).ok_or_else(|| StoreError::invalid("the credential is not an API key"))?;
    let expires_at = wire::instant(new.expires_at)?;
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    if let Some(call) = new.call
        && let Some(before) = made_by(&mut write.tx, call).await?
    {
        write.rollback().await?;
        return Ok(Created::Before(before));
    }
    if let Some(most) = new.at_most {
        refuse_more(&mut write.tx, new.application, most).await?;
    }
    let plan = plan_id(&mut write.tx, new.plan).await?;
    let (id, digest) = (new.issued.id, new.issued.digest.0);
    query_file!(
        "queries/api_key/insert.sql",
        id.as_str(),
        digest.as_slice(),
        i32::from(new.issued.pepper_version),
        new.application.uuid(),
        new.name,
        environment.purpose().prefix(),
        new.issued.last_four(),
        new.scopes,
        plan,
        stored::restrictions(new.restrictions)?,
        new.state.as_str(),
        expires_at,
        actor.to_string(),
        new.call.as_ref().map(|call| call.token.as_slice()),
        new.call.as_ref().map(|call| call.fingerprint.as_slice())
    )
    .execute(&mut *write.tx)
    .await
    .map_err(|error| missing_application(error, new.application))?;
    let row = row_on(&mut write.tx, &id).await?;
    write.authority(&AuthorityChange::Key(Box::new(row)))?;
    let item = find(&mut write.tx, &id).await?;
    let kind = if new.state == KeyState::Pending { Kind::KeyWaits } else { Kind::KeyIssued };
    notification::key_changed(&mut write.tx, kind, &item, actor).await?;
    Ok(Created::New(Written { item, revisions: write.commit().await? }))
}

/// Which of these names are no routes.
///
/// # Errors
/// [`StoreError`].
pub async fn unknown_routes(reader: &impl Reader, names: &[String]) -> Result<Vec<String>, StoreError> {
    Ok(query_file_scalar!("queries/gateway_resource/missing.sql", "route", names).fetch_all(reader.reader_pool()).await?)
}

/// The key that the same call made before. The lock on the head keeps two such calls apart.
async fn made_by(connection: &mut PgConnection, call: Call) -> Result<Option<KeyInfo>, StoreError> {
    let Some(row) = query_file!("queries/api_key/made_by.sql", call.token.as_slice()).fetch_optional(&mut *connection).await? else {
        return Ok(None);
    };
    if row.fingerprint != call.fingerprint {
        return Err(StoreError::Conflict { constraint: "create_call".to_owned(), detail: "the same call asked for another key before".to_owned() });
    }
    let id = KeyId::parse(&row.key_id).ok_or_else(|| wire::corrupt("key id", row.key_id))?;
    find(connection, &id).await.map(Some)
}

/// Refuses a key beyond `most`. The lock on the head makes it exact.
async fn refuse_more(connection: &mut PgConnection, application: ApplicationId, most: u32) -> Result<(), StoreError> {
    let count = query_file_scalar!("queries/api_key/count.sql", application.uuid()).fetch_one(connection).await?;
    if count >= i64::from(most) {
        return Err(StoreError::conflict("key_count", format!("the application has {count} keys, and may have {most}")));
    }
    Ok(())
}

/// The id of a plan by its name.
async fn plan_id(connection: &mut PgConnection, name: Option<&str>) -> Result<Option<Uuid>, StoreError> {
    let Some(name) = name else { return Ok(None) };
    let row = query_file!("queries/plan/by_name.sql", name).fetch_optional(connection).await?;
    row.map(|row| Some(row.id)).ok_or_else(|| StoreError::not_found("plan", name))
}

/// Revokes a key; doing it again changes nothing and says so.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn revoke(primary: &Primary, id: &KeyId, reason: RevokedReason, actor: &Actor) -> Result<Revoked, StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let row = query_file!("queries/api_key/revoke.sql", id.as_str(), actor.to_string(), reason.as_str()).fetch_optional(&mut *write.tx).await?;
    let Some(row) = row else {
        let before = query_file_scalar!("queries/api_key/revoked_at.sql", id.as_str()).fetch_optional(&mut *write.tx).await?;
        let at = before.flatten().ok_or_else(|| StoreError::not_found("key", id.to_string()))?;
        write.rollback().await?;
        // The one before may have been cut short while it waited for its standby, and this may be its repetition (T6).
        commit::barrier(primary).await?;
        let (revisions, _) = last_change(primary, id).await?;
        return Ok(Revoked { revisions, at: UtcMicros::from_datetime(at), already: true });
    };
    let change = match row_on(&mut write.tx, id).await {
        Ok(row) => AuthorityChange::Key(Box::new(row)),
        // A row that nodes could not read must still end: they forget it.
        Err(StoreError::Corrupt { .. }) => AuthorityChange::KeyRemoved { id: *id },
        Err(error) => return Err(error),
    };
    write.authority(&change)?;
    let kind = if reason == RevokedReason::Leaked { Kind::KeyLeaked } else { Kind::KeyRevoked };
    match find(&mut write.tx, id).await {
        Ok(info) => notification::key_changed(&mut write.tx, kind, &info, actor).await?,
        // What cannot be read cannot be told about, and ends all the same.
        Err(StoreError::Corrupt { .. }) => {}
        Err(error) => return Err(error),
    }
    let at = UtcMicros::from_datetime(row.revoked_at);
    Ok(Revoked { revisions: write.commit().await?, at, already: false })
}

/// The authority revision of a key's last change, and true; or the head's, and false, when it was in an earlier epoch. The structural
/// members are those of the epoch alone.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn last_change(primary: &Primary, id: &KeyId) -> Result<(Revisions, bool), StoreError> {
    let row = query_file!("queries/api_key/last_change.sql", id.as_str()).fetch_optional(primary.pool()).await?;
    let row = row.ok_or_else(|| StoreError::not_found("key", id.to_string()))?;
    Ok((revision::revisions(row.epoch, row.epoch_id, row.authority, 0)?, row.is_exact))
}

/// The foreign key says it, without another look-up.
fn missing_application(error: sqlx::Error, application: ApplicationId) -> StoreError {
    let error = StoreError::from(error);
    if error.breaks("api_key_application_fk") { StoreError::not_found("application", application.to_string()) } else { error }
}

pub(crate) async fn find(connection: &mut PgConnection, id: &KeyId) -> Result<KeyInfo, StoreError> {
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
    plan: Option<String>,
    restrictions: serde_json::Value,
    state: String,
    expires_at: OffsetDateTime,
    created_at: OffsetDateTime,
    created_by: String,
    rolled_at: Option<OffsetDateTime>,
    previous_until: Option<OffsetDateTime>,
    previous_last_four: Option<String>,
    revoked_at: Option<OffsetDateTime>,
    revoked_by: Option<String>,
    revoked_reason: Option<String>,
    disabled_by: Option<String>,
    import_from: Option<String>,
    import_source: Option<String>,
    import_waits: bool,
    verdict: Option<String>,
    reason: Option<String>,
    decided_at: Option<OffsetDateTime>,
    decided_by: Option<String>,
}

impl Row {
    fn into_info(self) -> Result<KeyInfo, StoreError> {
        let previous = self.previous_until.zip(self.previous_last_four);
        let decided = self.verdict.zip(self.decided_at).zip(self.decided_by);
        let decision = decided.map(|((verdict, at), by)| Decision::stored(&verdict, self.reason, at, by).map(Box::new)).transpose()?;
        Ok(KeyInfo {
            id: KeyId::parse(&self.id).ok_or_else(|| wire::corrupt("key id", self.id))?,
            name: self.name,
            application: ApplicationId::new(self.application_id),
            application_name: self.application_name,
            consumer: ConsumerId::new(self.consumer_id),
            consumer_name: self.consumer_name,
            tenant: self.tenant,
            environment: stored::environment(&self.prefix).map_err(|message| wire::corrupt("key", message))?,
            last_four: import::known_end(self.last_four),
            scopes: self.scopes,
            plan: self.plan,
            restrictions: serde_json::from_value(self.restrictions).map_err(|error| wire::corrupt("key restrictions", error.to_string()))?,
            state: KeyState::parse(&self.state).ok_or_else(|| wire::corrupt("key state", self.state))?,
            expires_at: UtcMicros::from_datetime(self.expires_at),
            created_at: UtcMicros::from_datetime(self.created_at),
            created_by: self.created_by,
            rolled_at: self.rolled_at.map(UtcMicros::from_datetime),
            previous: previous
                .map(|(until, last_four)| PreviousInfo { last_four: import::known_end(last_four), until: UtcMicros::from_datetime(until) }),
            revoked_at: self.revoked_at.map(UtcMicros::from_datetime),
            revoked_by: self.revoked_by,
            revoked_reason: self.revoked_reason.as_deref().and_then(RevokedReason::parse),
            disabled_by: self.disabled_by,
            imported: self.import_from.zip(self.import_source).map(|(system, source)| ImportedFrom {
                system,
                source,
                awaits_first_use: self.import_waits,
            }),
            decision,
        })
    }
}
