//! Invitations: a link that makes somebody a member of a team, an operator, or both. It works once.

use std::fmt;

use model::{
    id::{AccountId, ConsumerId},
    time::UtcMicros,
};
use serde::Serialize;
use sqlx::{PgConnection, query_file, query_file_as, query_file_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    AccountInfo, AccountState, NewAccount, Row as AccountRow, insert, lock_active, reset,
    team::{self, TeamRole},
};
use crate::{
    actor::Actor,
    error::StoreError,
    notification,
    pool::{Primary, Reader},
    wire,
};

/// An invitation, without what the link holds.
#[derive(Debug, Clone, Serialize)]
pub struct Invitation {
    /// Its id.
    pub id: Uuid,
    /// Who is invited, in lower case.
    pub email: String,
    /// The team, if it is to one, and its name.
    pub consumer: Option<(ConsumerId, String)>,
    /// What the person becomes there.
    pub team_role: Option<TeamRole>,
    /// What the person may as an operator.
    pub role: Option<String>,
    /// Who invites.
    pub invited_by: String,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
}

/// What a new invitation is made of; the caller has checked the texts.
#[derive(Debug, Clone, Copy)]
pub struct NewInvitation<'a> {
    /// SHA-256 of what the link holds.
    pub digest: &'a [u8; 32],
    /// Who is invited, in lower case.
    pub email: &'a str,
    /// The team, if it is to one, and what the person becomes there.
    pub team: Option<(ConsumerId, TeamRole)>,
    /// What the person may as an operator.
    pub role: Option<&'a str>,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
}

/// Who accepts.
#[derive(Clone, Copy)]
pub enum Accepting<'a> {
    /// Somebody without an account: one is made, with the invitation's address.
    New {
        /// What the person is called.
        name: &'a str,
        /// The argon2id hash, in PHC form.
        password: &'a str,
        /// The pepper that the hash is keyed with.
        pepper_version: u16,
    },
    /// Somebody who is signed in.
    Known(AccountId),
}

impl fmt::Debug for Accepting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New { name: _, password: _, pepper_version } => {
                f.debug_struct("New").field("pepper_version", pepper_version).finish_non_exhaustive()
            }
            Self::Known(id) => f.debug_tuple("Known").field(id).finish(),
        }
    }
}

/// Invites somebody. One to the same person and team takes the place of the one before, whose link then leads nowhere.
///
/// # Errors
/// [`StoreError::NotFound`] without such a consumer; [`StoreError::Invalid`] for an unknown role, or one that leads to neither.
pub async fn create(primary: &Primary, new: NewInvitation<'_>, actor: &Actor) -> Result<Invitation, StoreError> {
    let expires_at = wire::instant(new.expires_at)?;
    let (consumer, team_role) = new.team.unzip();
    let mut tx = primary.pool().begin().await?;
    query_file!("queries/account_invitation/trim.sql").execute(&mut *tx).await?;
    let put = query_file_as!(
        Row,
        "queries/account_invitation/put.sql",
        Uuid::now_v7(),
        new.digest.as_slice(),
        new.email,
        consumer.map(ConsumerId::uuid),
        team_role.map(TeamRole::as_str),
        new.role,
        actor.to_string(),
        expires_at
    );
    let row = put.fetch_one(&mut *tx).await.map_err(|error| missing_consumer(error, consumer))?;
    let made = row.into_invitation()?;
    let team = made.consumer.as_ref().map(|(id, name)| (*id, name.as_str()));
    let role = made.team_role.map(TeamRole::as_str).or(made.role.as_deref()).unwrap_or_default();
    notification::invited(&mut tx, &made.email, team, role, actor).await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    Ok(made)
}

/// The invitation with this digest, past or not: the caller decides what its end means.
///
/// # Errors
/// [`StoreError`]; an unknown one, or one that was used up, is `None`.
pub async fn find(reader: &impl Reader, digest: &[u8; 32]) -> Result<Option<Invitation>, StoreError> {
    let row = query_file_as!(Row, "queries/account_invitation/find.sql", digest.as_slice()).fetch_optional(reader.reader_pool()).await?;
    row.map(Row::into_invitation).transpose()
}

/// Invitations to a team that nobody has accepted, newest first; those that have ended stay for a day.
///
/// # Errors
/// [`StoreError`].
pub async fn of_team(reader: &impl Reader, consumer: ConsumerId) -> Result<Vec<Invitation>, StoreError> {
    let rows = query_file_as!(Row, "queries/account_invitation/of_team.sql", consumer.uuid()).fetch_all(reader.reader_pool()).await?;
    rows.into_iter().map(Row::into_invitation).collect()
}

/// Takes back an invitation to a team.
///
/// # Errors
/// [`StoreError::NotFound`], also when it is to another team.
pub async fn withdraw(primary: &Primary, consumer: ConsumerId, id: Uuid) -> Result<(), StoreError> {
    let withdrawn = query_file_scalar!("queries/account_invitation/withdraw.sql", consumer.uuid(), id).fetch_one(primary.pool()).await?;
    if withdrawn == 0 {
        return Err(StoreError::not_found("invitation", id.to_string()));
    }
    Ok(())
}

/// What became of an invitation.
#[derive(Debug)]
pub struct Accepted {
    /// Who has accepted it.
    pub account: AccountInfo,
    /// The invitation, which is used up.
    pub invitation: Uuid,
}

/// Uses an invitation up: a new account, or the one that is there, joins the team and gets the operator's role. An account that waits for
/// approval with this address makes room: whoever asked for it has not shown that it is theirs. Who belongs to the team
/// already stays what they are there.
///
/// # Errors
/// [`StoreError::NotFound`] when it is unknown, used up or past; [`StoreError::Conflict`] with `account_email_unique` for somebody new
/// whose address has an account, with `invitation_email` for somebody known who has another address, and with `account_state` for
/// somebody known who is not active. After an error it can still be used.
pub async fn accept(primary: &Primary, digest: &[u8; 32], at: UtcMicros, who: Accepting<'_>) -> Result<Accepted, StoreError> {
    let mut tx = primary.pool().begin().await?;
    let taken = query_file!("queries/account_invitation/take.sql", digest.as_slice(), wire::instant(at)?).fetch_optional(&mut *tx).await?;
    // Not the digest: whoever reads the log learns nothing by it.
    let taken = taken.ok_or_else(|| StoreError::not_found("invitation", "of this link"))?;
    let account = match who {
        Accepting::New { name, password, pepper_version } => {
            query_file!("queries/account/forget_pending.sql", taken.email).execute(&mut *tx).await?;
            let new = NewAccount { email: &taken.email, name, password, pepper_version, organization: "" };
            insert(&mut tx, new, AccountState::Active, taken.role.as_deref()).await?
        }
        Accepting::Known(id) => known(&mut tx, id, &taken.email, taken.role.as_deref()).await?,
    };
    if let Some((consumer, role)) = taken.consumer_id.zip(taken.team_role) {
        let consumer = ConsumerId::new(consumer);
        if team::join(&mut tx, consumer, account.id, TeamRole::stored(&role)?).await? {
            notification::joined(&mut tx, consumer, &account, &role).await?;
        }
    }
    tx.commit().await.map_err(StoreError::at_commit)?;
    Ok(Accepted { account, invitation: taken.id })
}

/// The account that accepts, with the role that the invitation gives.
async fn known(connection: &mut PgConnection, id: AccountId, email: &str, role: Option<&str>) -> Result<AccountInfo, StoreError> {
    let account = lock_active(&mut *connection, id).await?;
    if account.email != email {
        return Err(StoreError::conflict("invitation_email", "the invitation is for another address"));
    }
    let Some(role) = role else { return Ok(account) };
    // Whoever made a link to another password was asked about another role.
    reset::withdraw_on(&mut *connection, id).await?;
    query_file_as!(AccountRow, "queries/account/set_role.sql", id.uuid(), role).fetch_one(connection).await?.into_info()
}

/// The foreign key says it, without another look-up.
fn missing_consumer(error: sqlx::Error, consumer: Option<ConsumerId>) -> StoreError {
    let error = StoreError::from(error);
    match consumer {
        Some(consumer) if error.breaks("account_invitation_consumer_fk") => StoreError::not_found("consumer", consumer.to_string()),
        Some(_) | None => error,
    }
}

/// A row of `account_invitation`, with its consumer's name.
#[derive(Debug)]
struct Row {
    id: Uuid,
    email: String,
    consumer_id: Option<Uuid>,
    consumer_name: Option<String>,
    team_role: Option<String>,
    role: Option<String>,
    invited_by: String,
    expires_at: OffsetDateTime,
}

impl Row {
    fn into_invitation(self) -> Result<Invitation, StoreError> {
        Ok(Invitation {
            id: self.id,
            email: self.email,
            consumer: self.consumer_id.map(ConsumerId::new).zip(self.consumer_name),
            team_role: self.team_role.as_deref().map(TeamRole::stored).transpose()?,
            role: self.role,
            invited_by: self.invited_by,
            expires_at: UtcMicros::from_datetime(self.expires_at),
        })
    }
}
