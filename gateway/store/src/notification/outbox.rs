//! The outbox as senders see it: claims that last for a minute, and what became of them. A sender that dies leaves a claim behind, and
//! another one tries again under the same id: each notification is sent at least once.

use model::{
    id::{ConsumerId, NotificationId},
    time::UtcMicros,
};
use sqlx::{query_file, query_file_scalar};

use super::{Kind, NotificationState};
use crate::{error::StoreError, pool::Primary, wire};

/// By which way something is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// By mail, to one address.
    Mail,
    /// To the webhook of a team.
    Webhook,
    /// To whoever the node file names; dealt out with [`deal`].
    Operators,
    /// To the webhook of the node file.
    OperatorsWebhook,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 4] = [Self::Mail, Self::Webhook, Self::Operators, Self::OperatorsWebhook];

    /// The name in the database and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhook => "webhook",
            Self::Operators => "operators",
            Self::OperatorsWebhook => "operators_webhook",
        }
    }

    fn stored(text: &str) -> Result<Self, StoreError> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == text).ok_or_else(|| wire::corrupt("notification channel", text))
    }
}

/// One claim: until it is settled or a minute is over, no other sender has this notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Which.
    pub id: NotificationId,
    /// The how manieth attempt; from 1.
    pub attempt: i32,
}

/// Where a claimed notification goes.
#[derive(Debug, Clone)]
pub enum Target {
    /// To this address.
    Mail(String),
    /// To this webhook.
    Webhook {
        /// Whose it is.
        consumer: ConsumerId,
        /// Address and secret, sealed.
        sealed: Vec<u8>,
        /// The pepper under whose key.
        pepper_version: u16,
    },
    /// To whoever the node file names.
    Operators,
    /// To the webhook of the node file.
    OperatorsWebhook,
    /// The account or the webhook is not there any more, or does not want it.
    Nobody,
}

/// A notification that this sender has to send now.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The claim.
    pub claim: Claim,
    /// What is told.
    pub kind: Kind,
    /// When it happened.
    pub at: UtcMicros,
    /// What happened.
    pub data: serde_json::Value,
    /// Where it goes.
    pub target: Target,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The receiver took it.
    Delivered,
    /// It is tried again after so many seconds, unless that is past the day that it has.
    Again {
        /// Seconds from now on.
        after: f64,
        /// Why, in words that the team may read.
        fault: String,
    },
    /// It is not tried again.
    Failed(String),
}

/// Claims what is due on these channels, at most `most`.
///
/// # Errors
/// [`StoreError`].
///
/// # Cancel
/// Claims that were made come to an end by themselves.
pub async fn claim(primary: &Primary, channels: &[Channel], most: u32) -> Result<Vec<Claimed>, StoreError> {
    let channels: Vec<String> = channels.iter().map(|channel| channel.as_str().to_owned()).collect();
    let rows = query_file!("queries/notification/claim.sql", &channels, i64::from(most)).fetch_all(primary.pool()).await?;
    let mut claimed = Vec::with_capacity(rows.len());
    for row in rows {
        let claim = Claim { id: NotificationId::new(row.id), attempt: row.attempts };
        let Some(kind) = Kind::parse(&row.kind) else {
            // A newer version wrote it; another node may know it.
            settle(primary, claim, Outcome::Again { after: 60.0, fault: "this version does not know it".to_owned() }).await?;
            continue;
        };
        let pepper_version = row.pepper_version.and_then(|version| u16::try_from(version).ok());
        let webhook = row.consumer_id.zip(row.sealed).zip(pepper_version);
        let target = match (Channel::stored(&row.channel)?, row.address, webhook) {
            (Channel::Mail, Some(address), _) => Target::Mail(address),
            (Channel::Webhook, _, Some(((consumer, sealed), pepper_version))) => {
                Target::Webhook { consumer: ConsumerId::new(consumer), sealed, pepper_version }
            }
            (Channel::Operators, ..) => Target::Operators,
            (Channel::OperatorsWebhook, ..) => Target::OperatorsWebhook,
            (Channel::Mail, None, _) | (Channel::Webhook, _, None) => Target::Nobody,
        };
        claimed.push(Claimed { claim, kind, at: UtcMicros::from_datetime(row.created_at), data: row.data, target });
    }
    Ok(claimed)
}

/// Notes what became of an attempt; the state afterwards. A claim that somebody else has taken over since changes nothing: `None`.
///
/// # Errors
/// [`StoreError`]; then it is tried again when the claim ends.
pub async fn settle(primary: &Primary, claim: Claim, outcome: Outcome) -> Result<Option<NotificationState>, StoreError> {
    let (state, after, fault) = match outcome {
        Outcome::Delivered => (NotificationState::Delivered, 0.0, None),
        Outcome::Again { after, fault } => (NotificationState::Queued, after, Some(fault)),
        Outcome::Failed(fault) => (NotificationState::Failed, 0.0, Some(fault)),
    };
    let row = query_file_scalar!("queries/notification/settle.sql", claim.id.uuid(), claim.attempt, state.as_str(), after, fault.as_deref());
    row.fetch_optional(primary.pool()).await?.as_deref().map(NotificationState::stored).transpose()
}

/// Turns what is for operators into one notification for each of them, in one transaction.
///
/// # Errors
/// [`StoreError`]; then nothing is dealt out, and it is tried again when the claim ends.
pub async fn deal(primary: &Primary, claim: Claim, addresses: &[String], has_webhook: bool) -> Result<(), StoreError> {
    let mut channels = vec![Channel::Mail.as_str().to_owned(); addresses.len()];
    let mut receivers: Vec<Option<String>> = addresses.iter().cloned().map(Some).collect();
    if has_webhook {
        channels.push(Channel::OperatorsWebhook.as_str().to_owned());
        receivers.push(None);
    }
    let mut tx = primary.pool().begin().await?;
    let (state, none) = (NotificationState::Delivered.as_str(), None::<&str>);
    let done = query_file_scalar!("queries/notification/settle.sql", claim.id.uuid(), claim.attempt, state, 0.0, none);
    if done.fetch_optional(&mut *tx).await?.is_none() {
        return Ok(());
    }
    query_file!("queries/notification/expand.sql", claim.id.uuid(), &channels, &receivers as &[Option<String>]).execute(&mut *tx).await?;
    tx.commit().await.map_err(StoreError::at_commit)
}

/// Settles a delivery whose receiver says that it is gone, and switches the webhook off that said so.
///
/// # Errors
/// [`StoreError`]; then it is tried again when the claim ends.
pub async fn gone(primary: &Primary, claim: Claim, consumer: ConsumerId, sealed: &[u8]) -> Result<(), StoreError> {
    let mut tx = primary.pool().begin().await?;
    query_file!("queries/team_webhook/gone.sql", consumer.uuid(), sealed).execute(&mut *tx).await?;
    let (state, fault) = (NotificationState::Failed.as_str(), Some("the receiver answered 410: the webhook is switched off"));
    query_file_scalar!("queries/notification/settle.sql", claim.id.uuid(), claim.attempt, state, 0.0, fault).fetch_optional(&mut *tx).await?;
    tx.commit().await.map_err(StoreError::at_commit)
}

/// Gives up what no sender took in its time, and forgets what ended a week ago.
///
/// # Errors
/// [`StoreError`].
pub async fn tidy(primary: &Primary) -> Result<(), StoreError> {
    query_file!("queries/notification/give_up.sql").execute(primary.pool()).await?;
    query_file!("queries/notification/trim.sql").execute(primary.pool()).await?;
    Ok(())
}

/// How much of a channel waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Waiting {
    /// Which channel.
    pub channel: Channel,
    /// In the queue.
    pub queued: u64,
    /// Given up, and not forgotten yet.
    pub failed: u64,
    /// Age of the oldest in the queue; 0 without any.
    pub oldest_seconds: f64,
}

/// How much waits, for channels that have had anything in the last week.
///
/// # Errors
/// [`StoreError`].
pub async fn measure(primary: &Primary) -> Result<Vec<Waiting>, StoreError> {
    let rows = query_file!("queries/notification/measure.sql").fetch_all(primary.pool()).await?;
    let measured = rows.into_iter().map(|row| {
        Ok(Waiting {
            channel: Channel::stored(&row.channel)?,
            queued: wire::count(row.queued, "number of notifications")?,
            failed: wire::count(row.failed, "number of notifications")?,
            oldest_seconds: row.oldest_seconds,
        })
    });
    measured.collect()
}
