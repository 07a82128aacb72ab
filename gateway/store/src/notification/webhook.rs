//! Where a team wants to be told: one webhook, whose address and secret are sealed by whoever writes them.

use model::{
    id::{ConsumerId, NotificationId},
    time::UtcMicros,
};
use serde_json::json;
use sqlx::query_file;

use super::{Kind, NotificationState};
use crate::{
    actor::Actor,
    error::StoreError,
    pool::{Primary, Reader},
    wire,
};

/// A team's webhook.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The name in its address.
    pub host: String,
    /// Address and secret, sealed.
    pub sealed: Vec<u8>,
    /// The pepper under whose key.
    pub pepper_version: u16,
    /// False when its receiver has answered 410.
    pub is_on: bool,
    /// When it was set.
    pub created_at: UtcMicros,
}

/// A delivery to a webhook.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id, as receivers see it.
    pub id: NotificationId,
    /// What is told.
    pub kind: String,
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

/// The webhook of a team.
///
/// # Errors
/// [`StoreError`]; without one it is `None`.
pub async fn find(reader: &impl Reader, consumer: ConsumerId) -> Result<Option<Webhook>, StoreError> {
    let row = query_file!("queries/team_webhook/find.sql", consumer.uuid()).fetch_optional(reader.reader_pool()).await?;
    let Some(row) = row else { return Ok(None) };
    let pepper_version = u16::try_from(row.pepper_version).map_err(|_| wire::corrupt("pepper version", "it is out of range"))?;
    let (is_on, created_at) = (row.state == "on", UtcMicros::from_datetime(row.created_at));
    Ok(Some(Webhook { host: row.host, sealed: row.sealed, pepper_version, is_on, created_at }))
}

/// Sets the webhook of a team, in place of the one before; what waits goes to the new one. The team's people are told by mail.
///
/// # Errors
/// [`StoreError::NotFound`] without such a consumer.
pub async fn put(primary: &Primary, consumer: ConsumerId, host: &str, sealed: &[u8], pepper_version: u16, actor: &Actor) -> Result<(), StoreError> {
    let mut tx = primary.pool().begin().await?;
    let put = query_file!("queries/team_webhook/put.sql", consumer.uuid(), host, sealed, i32::from(pepper_version), actor.to_string());
    put.execute(&mut *tx).await.map_err(|error| {
        let error = StoreError::from(error);
        if error.breaks("team_webhook_consumer_fk") { StoreError::not_found("consumer", consumer.to_string()) } else { error }
    })?;
    super::webhook_set(&mut tx, consumer, host, actor).await?;
    tx.commit().await.map_err(StoreError::at_commit)
}

/// Forgets the webhook of a team; doing it again changes nothing.
///
/// # Errors
/// [`StoreError`].
pub async fn remove(primary: &Primary, consumer: ConsumerId) -> Result<(), StoreError> {
    query_file!("queries/team_webhook/remove.sql", consumer.uuid()).execute(primary.pool()).await?;
    Ok(())
}

/// Queues a trial. `false` when there is no webhook, or one is under way already.
///
/// # Errors
/// [`StoreError`].
pub async fn test(primary: &Primary, consumer: ConsumerId) -> Result<bool, StoreError> {
    let data = json!({ "team": { "id": consumer } });
    let done = query_file!("queries/notification/test_webhook.sql", consumer.uuid(), Kind::Test.as_str(), data).execute(primary.pool()).await?;
    Ok(done.rows_affected() > 0)
}

/// The last deliveries to the webhook of a team, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn deliveries(reader: &impl Reader, consumer: ConsumerId) -> Result<Vec<Delivery>, StoreError> {
    let rows = query_file!("queries/notification/of_webhook.sql", consumer.uuid()).fetch_all(reader.reader_pool()).await?;
    let deliveries = rows.into_iter().map(|row| {
        Ok(Delivery {
            id: NotificationId::new(row.id),
            kind: row.kind,
            state: NotificationState::stored(&row.state)?,
            created_at: UtcMicros::from_datetime(row.created_at),
            due_at: UtcMicros::from_datetime(row.due_at),
            attempts: u32::try_from(row.attempts).unwrap_or(0),
            ended_at: row.ended_at.map(UtcMicros::from_datetime),
            fault: row.fault,
        })
    });
    deliveries.collect()
}
