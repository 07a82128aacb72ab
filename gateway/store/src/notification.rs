//! What people are told: an outbox. An act writes what is to be told in its own transaction, so nothing is told that did not happen, and
//! nothing is lost with the node that did it. The senders of the nodes read it ([`outbox`]); teams say where and what ([`webhook`],
//! [`wish`]); keys that end are found by [`remind`].

use model::{
    id::{AccountId, ConsumerId, NotificationId},
    time::UtcMicros,
};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{PgConnection, query_file, query_file_as};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    account::AccountInfo,
    actor::{Actor, ActorKind},
    error::StoreError,
    key::{self, KeyInfo},
    page::{Page, PageRequest, Place},
    pool::{Primary, Reader},
    wire,
};

pub mod outbox;
pub mod webhook;
pub mod wish;

use self::wish::Topic;

/// What of one team may wait at once; beyond it only leaks are told.
const WAITING_MAX: i64 = 500;

/// Ends of keys that one round of [`remind`] tells of.
pub const REMINDERS_MAX: usize = 100;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A key was issued.
    KeyIssued,
    /// A key waits for approval.
    KeyWaits,
    /// A key that waited may be used.
    KeyApproved,
    /// A key that waited was refused.
    KeyRefused,
    /// A key got another secret.
    KeyRolled,
    /// A key was revoked.
    KeyRevoked,
    /// A key was reported as leaked, and revoked.
    KeyLeaked,
    /// A key ends soon.
    KeyEnds,
    /// A key has ended.
    KeyEnded,
    /// Somebody was invited.
    InvitationMade,
    /// Somebody has joined the team.
    MemberJoined,
    /// The team has another webhook.
    WebhookSet,
    /// Somebody wants an account.
    AccountWaits,
    /// An account was approved.
    AccountApproved,
    /// A request for an account was refused.
    AccountRefused,
    /// Somebody tries their webhook out.
    Test,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::KeyIssued,
        Self::KeyWaits,
        Self::KeyApproved,
        Self::KeyRefused,
        Self::KeyRolled,
        Self::KeyRevoked,
        Self::KeyLeaked,
        Self::KeyEnds,
        Self::KeyEnded,
        Self::InvitationMade,
        Self::MemberJoined,
        Self::WebhookSet,
        Self::AccountWaits,
        Self::AccountApproved,
        Self::AccountRefused,
        Self::Test,
    ];

    /// The name in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyIssued => "key.issued",
            Self::KeyWaits => "key.waits",
            Self::KeyApproved => "key.approved",
            Self::KeyRefused => "key.refused",
            Self::KeyRolled => "key.rolled",
            Self::KeyRevoked => "key.revoked",
            Self::KeyLeaked => "key.leaked",
            Self::KeyEnds => "key.ends",
            Self::KeyEnded => "key.ended",
            Self::InvitationMade => "invitation.made",
            Self::MemberJoined => "member.joined",
            Self::WebhookSet => "webhook.set",
            Self::AccountWaits => "account.waits",
            Self::AccountApproved => "account.approved",
            Self::AccountRefused => "account.refused",
            Self::Test => "test",
        }
    }

    /// Reads that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Under which topic members may refuse it; what is always told has none.
    const fn topic(self) -> Option<Topic> {
        match self {
            Self::KeyIssued | Self::KeyWaits | Self::KeyApproved | Self::KeyRefused | Self::KeyRolled | Self::KeyRevoked => Some(Topic::Keys),
            Self::KeyEnds | Self::KeyEnded => Some(Topic::Ends),
            Self::MemberJoined => Some(Topic::Team),
            Self::KeyLeaked
            | Self::InvitationMade
            | Self::WebhookSet
            | Self::AccountWaits
            | Self::AccountApproved
            | Self::AccountRefused
            | Self::Test => None,
        }
    }
}

/// Where a notification is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationState {
    /// It waits for its first attempt, or for the next.
    Queued,
    /// The receiver took it.
    Delivered,
    /// It is not tried again.
    Failed,
}

impl NotificationState {
    /// The name in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// Reads that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Queued, Self::Delivered, Self::Failed].into_iter().find(|state| state.as_str() == text)
    }

    fn stored(text: &str) -> Result<Self, StoreError> {
        Self::parse(text).ok_or_else(|| wire::corrupt("notification state", text))
    }
}

/// A notification, without what it says.
#[derive(Debug, Clone)]
pub struct NotificationInfo {
    /// Its id, which receivers see too.
    pub id: NotificationId,
    /// What is told.
    pub kind: String,
    /// By which way: `mail`, `webhook`, `operators` before it is dealt out, `operators_webhook`.
    pub channel: String,
    /// Whose mail it is, if it is an account's.
    pub account: Option<AccountId>,
    /// The team that it tells of, or to.
    pub consumer: Option<ConsumerId>,
    /// Where it is.
    pub state: NotificationState,
    /// When it happened.
    pub created_at: UtcMicros,
    /// When it is tried next, or was due last.
    pub due_at: UtcMicros,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was delivered or given up.
    pub ended_at: Option<UtcMicros>,
    /// Why the last attempt failed.
    pub fault: Option<String>,
}

/// Notifications, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(reader: &impl Reader, state: Option<NotificationState>, page: &PageRequest) -> Result<Page<NotificationInfo>, StoreError> {
    let place = page.place()?;
    let (at, after) = (place.as_ref().map(|place| place.at), place.as_ref().map(Place::uuid).transpose()?);
    let state = state.map(NotificationState::as_str);
    let rows = query_file_as!(Row, "queries/notification/list.sql", state, at, after, page.rows()).fetch_all(reader.reader_pool()).await?;
    let items = rows.into_iter().map(Row::into_info).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(page, items, |info| (info.created_at, info.id.uuid().to_string())))
}

/// Puts one that failed back into the queue, for another day.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with `notification_state` when it did not fail.
pub async fn retry(primary: &Primary, id: NotificationId) -> Result<NotificationInfo, StoreError> {
    let mut connection = primary.pool().acquire().await?;
    let done = query_file!("queries/notification/retry.sql", id.uuid()).execute(&mut *connection).await?;
    let row = query_file_as!(Row, "queries/notification/find.sql", id.uuid()).fetch_optional(&mut *connection).await?;
    let info = row.ok_or_else(|| StoreError::not_found("notification", id.to_string()))?.into_info()?;
    if done.rows_affected() == 0 {
        return Err(StoreError::conflict("notification_state", format!("notification {id} is {}", info.state.as_str())));
    }
    Ok(info)
}

/// Finds keys that end in 14, 3 or 1 days or have just ended, and tells their teams, each once. Returns how many.
///
/// # Errors
/// [`StoreError`]; then nothing of this round is told.
pub async fn remind(primary: &Primary) -> Result<usize, StoreError> {
    let mut tx = primary.pool().begin().await?;
    let reached = query_file!("queries/key_reminder/put.sql").fetch_all(&mut *tx).await?;
    for row in &reached {
        let id = model::key::KeyId::parse(&row.key_id).ok_or_else(|| wire::corrupt("key id", row.key_id.clone()))?;
        let info = match key::find(&mut tx, &id).await {
            Ok(info) => info,
            // One row that cannot be read must not keep the others' teams in the dark.
            Err(StoreError::Corrupt { .. }) => continue,
            Err(error) => return Err(error),
        };
        let kind = if row.days == 0 { Kind::KeyEnded } else { Kind::KeyEnds };
        let mut data = of_key(&info);
        if row.days > 0
            && let Some(members) = data.as_object_mut()
        {
            members.insert("days".to_owned(), json!(row.days));
        }
        tell_team(&mut tx, info.consumer, kind, &data).await?;
    }
    query_file!("queries/key_reminder/trim.sql").execute(&mut *tx).await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    Ok(reached.len())
}

/// Tells a team what became of a key.
pub(crate) async fn key_changed(connection: &mut PgConnection, kind: Kind, key: &KeyInfo, actor: &Actor) -> Result<(), StoreError> {
    let mut data = of_key(key);
    if let Some(members) = data.as_object_mut() {
        members.insert("by".to_owned(), by(&mut *connection, actor).await?.0);
        if let Some(reason) = key.decision.as_ref().and_then(|decision| decision.reason.as_ref()).filter(|_| kind == Kind::KeyRefused) {
            members.insert("reason".to_owned(), json!(reason));
        }
    }
    if kind == Kind::KeyLeaked {
        tell_operators(&mut *connection, kind, &data, Often::AsItHappens).await?;
    } else if kind == Kind::KeyWaits {
        tell_operators(&mut *connection, kind, &data, Often::Seldom).await?;
    }
    tell_team(connection, key.consumer, kind, &data).await
}

/// Tells somebody that they are invited. The link is not told: whoever invites hands it over.
pub(crate) async fn invited(
    connection: &mut PgConnection,
    email: &str,
    team: Option<(ConsumerId, &str)>,
    role: &str,
    actor: &Actor,
) -> Result<(), StoreError> {
    let (by, mail) = by(&mut *connection, actor).await?;
    let named = team.map(|(id, name)| json!({ "id": id, "name": name }));
    let data = json!({ "team": named, "role": role, "by": by, "ask": mail });
    let consumer = team.map(|(id, _)| id.uuid());
    tell_address(connection, Kind::InvitationMade, consumer, email, &data).await
}

/// Tells a team that somebody has joined it.
pub(crate) async fn joined(connection: &mut PgConnection, consumer: ConsumerId, account: &AccountInfo, role: &str) -> Result<(), StoreError> {
    let data = json!({ "member": { "id": account.id, "name": account.name }, "role": role, "team": { "id": consumer } });
    tell_team(connection, consumer, Kind::MemberJoined, &data).await
}

/// Tells the people of a team that it has another webhook: all that is told to the team goes there from now on, whoever set it.
pub(crate) async fn webhook_set(connection: &mut PgConnection, consumer: ConsumerId, host: &str, actor: &Actor) -> Result<(), StoreError> {
    let data = json!({ "webhook": { "host": host }, "team": { "id": consumer }, "by": by(&mut *connection, actor).await?.0 });
    tell_team(connection, consumer, Kind::WebhookSet, &data).await
}

/// Tells operators that somebody wants an account.
pub(crate) async fn account_waits(connection: &mut PgConnection, account: &AccountInfo) -> Result<(), StoreError> {
    tell_operators(connection, Kind::AccountWaits, &json!({ "account": { "id": account.id } }), Often::Seldom).await
}

/// Tells somebody that they can sign in.
pub(crate) async fn account_approved(connection: &mut PgConnection, account: &AccountInfo) -> Result<(), StoreError> {
    let data = json!({ "account": { "id": account.id } });
    query_file!("queries/notification/tell_account.sql", Kind::AccountApproved.as_str(), account.id.uuid(), data).execute(connection).await?;
    Ok(())
}

/// Tells somebody whose request is forgotten.
pub(crate) async fn account_refused(connection: &mut PgConnection, email: &str) -> Result<(), StoreError> {
    tell_address(connection, Kind::AccountRefused, None, email, &json!({})).await
}

/// How often operators hear of something that strangers can cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Often {
    AsItHappens,
    Seldom,
}

async fn tell_team(connection: &mut PgConnection, consumer: ConsumerId, kind: Kind, data: &Value) -> Result<(), StoreError> {
    let topic = kind.topic().map_or("", Topic::as_str);
    let is_urgent = kind == Kind::KeyLeaked;
    query_file!("queries/notification/tell_team.sql", consumer.uuid(), kind.as_str(), data, topic, is_urgent, WAITING_MAX)
        .execute(connection)
        .await?;
    Ok(())
}

async fn tell_address(connection: &mut PgConnection, kind: Kind, consumer: Option<Uuid>, address: &str, data: &Value) -> Result<(), StoreError> {
    query_file!("queries/notification/tell_address.sql", kind.as_str(), consumer, address, data).execute(connection).await?;
    Ok(())
}

async fn tell_operators(connection: &mut PgConnection, kind: Kind, data: &Value, often: Often) -> Result<(), StoreError> {
    query_file!("queries/notification/tell_operators.sql", kind.as_str(), data, often == Often::Seldom).execute(connection).await?;
    Ok(())
}

fn of_key(key: &KeyInfo) -> Value {
    json!({
        "key": {
            "id": key.id.to_string(), "name": key.name, "last_four": key.last_four,
            "environment": key.environment.as_str(), "expires_at": key.expires_at.to_string(),
        },
        "application": { "id": key.application, "name": key.application_name },
        "team": { "id": key.consumer, "name": key.consumer_name },
    })
}

/// Who acts, as receivers see it, and their mail address, if they have an account.
async fn by(connection: &mut PgConnection, actor: &Actor) -> Result<(Value, Option<String>), StoreError> {
    let account: Option<AccountId> = if actor.kind == ActorKind::Account { actor.name.parse().ok() } else { None };
    let Some(id) = account else { return Ok((json!({ "kind": actor.kind.as_str(), "name": actor.name }), None)) };
    let row = query_file!("queries/account/name_of.sql", id.uuid()).fetch_optional(connection).await?;
    let (name, email) = row.map(|row| (row.name, row.email)).unzip();
    Ok((json!({ "kind": actor.kind.as_str(), "id": id, "name": name }), email))
}

/// A row of `notification`, without its body.
#[derive(Debug)]
struct Row {
    id: Uuid,
    kind: String,
    channel: String,
    account_id: Option<Uuid>,
    consumer_id: Option<Uuid>,
    state: String,
    created_at: OffsetDateTime,
    due_at: OffsetDateTime,
    attempts: i32,
    ended_at: Option<OffsetDateTime>,
    fault: Option<String>,
}

impl Row {
    fn into_info(self) -> Result<NotificationInfo, StoreError> {
        Ok(NotificationInfo {
            id: NotificationId::new(self.id),
            kind: self.kind,
            channel: self.channel,
            account: self.account_id.map(AccountId::new),
            consumer: self.consumer_id.map(ConsumerId::new),
            state: NotificationState::stored(&self.state)?,
            created_at: UtcMicros::from_datetime(self.created_at),
            due_at: UtcMicros::from_datetime(self.due_at),
            attempts: u32::try_from(self.attempts).unwrap_or(0),
            ended_at: self.ended_at.map(UtcMicros::from_datetime),
            fault: self.fault,
        })
    }
}
