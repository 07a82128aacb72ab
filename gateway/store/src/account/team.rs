//! Teams: consumers with people, at least one of them an owner.

use model::{
    id::{AccountId, ConsumerId},
    time::UtcMicros,
};
use serde::Serialize;
use sqlx::{PgConnection, PgTransaction, query_file};

use super::{AccountInfo, AccountState, Row};
use crate::{
    actor::{Actor, ActorKind},
    error::StoreError,
    pool::{Primary, Reader},
    wire,
};

/// What somebody may do in a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TeamRole {
    /// Everything, people included.
    Owner,
    /// Applications and keys.
    Developer,
    /// Looks.
    Viewer,
}

impl TeamRole {
    /// The name in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Developer => "developer",
            Self::Viewer => "viewer",
        }
    }

    /// Reads that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Owner, Self::Developer, Self::Viewer].into_iter().find(|role| role.as_str() == text)
    }

    /// Reads what the database holds.
    pub(super) fn stored(text: &str) -> Result<Self, StoreError> {
        Self::parse(text).ok_or_else(|| wire::corrupt("team role", text))
    }
}

/// A team of an account.
#[derive(Debug, Clone, Serialize)]
pub struct Membership {
    /// The consumer.
    pub consumer: ConsumerId,
    /// Its name.
    pub consumer_name: String,
    /// The name of its tenant.
    pub tenant: String,
    /// What the account may do there.
    pub role: TeamRole,
}

/// An account of a team.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    /// Who.
    pub account: AccountInfo,
    /// What they may do.
    pub role: TeamRole,
    /// Since when they belong to it.
    pub since: UtcMicros,
}

/// The teams of an account, by name.
///
/// # Errors
/// [`StoreError`].
pub async fn of_account(reader: &impl Reader, account: AccountId) -> Result<Vec<Membership>, StoreError> {
    let rows = query_file!("queries/team_member/of_account.sql", account.uuid()).fetch_all(reader.reader_pool()).await?;
    let memberships = rows.into_iter().map(|row| {
        let role = TeamRole::stored(&row.role)?;
        Ok(Membership { consumer: ConsumerId::new(row.consumer_id), consumer_name: row.consumer_name, tenant: row.tenant, role })
    });
    memberships.collect()
}

/// Who belongs to a team, those first who have for longest; nobody when there is no such consumer.
///
/// # Errors
/// [`StoreError`].
pub async fn members(reader: &impl Reader, consumer: ConsumerId) -> Result<Vec<Member>, StoreError> {
    let rows = query_file!("queries/team_member/members.sql", consumer.uuid()).fetch_all(reader.reader_pool()).await?;
    let members = rows.into_iter().map(|row| {
        let account = Row {
            id: row.id,
            email: row.email,
            name: row.name,
            state: row.state,
            role: row.role,
            organization: row.organization,
            created_at: row.created_at,
            has_second_factor: row.has_second_factor,
        };
        Ok(Member { account: account.into_info()?, role: TeamRole::stored(&row.team_role)?, since: UtcMicros::from_datetime(row.since) })
    });
    members.collect()
}

/// Changes what somebody may do in a team.
///
/// # Errors
/// [`StoreError::NotFound`] when they do not belong to it; [`StoreError::Conflict`] with `team_last_owner` when nobody would own it.
pub async fn set_role(primary: &Primary, consumer: ConsumerId, account: AccountId, role: TeamRole) -> Result<(), StoreError> {
    let mut tx = lock_for(primary, consumer, account, Some(role)).await?;
    query_file!("queries/team_member/set_role.sql", consumer.uuid(), account.uuid(), role.as_str()).execute(&mut *tx).await?;
    if role != TeamRole::Owner {
        forget_invitations(&mut tx, consumer, account).await?;
    }
    tx.commit().await.map_err(StoreError::at_commit)
}

/// Takes somebody out of a team.
///
/// # Errors
/// [`StoreError::NotFound`] when they do not belong to it; [`StoreError::Conflict`] with `team_last_owner` when nobody would own it.
pub async fn remove(primary: &Primary, consumer: ConsumerId, account: AccountId) -> Result<(), StoreError> {
    let mut tx = lock_for(primary, consumer, account, None).await?;
    query_file!("queries/team_member/remove.sql", consumer.uuid(), account.uuid()).execute(&mut *tx).await?;
    forget_invitations(&mut tx, consumer, account).await?;
    tx.commit().await.map_err(StoreError::at_commit)
}

/// Whoever may not invite any more has no invitation of theirs waiting, and none to come back with.
async fn forget_invitations(connection: &mut PgConnection, consumer: ConsumerId, account: AccountId) -> Result<(), StoreError> {
    let by = Actor { kind: ActorKind::Account, name: account.to_string() }.to_string();
    query_file!("queries/account_invitation/forget.sql", consumer.uuid(), by, account.uuid()).execute(connection).await?;
    Ok(())
}

/// Locks the rows of a team, if it still has an owner once `account` is `then`: nothing at all when absent.
async fn lock_for(primary: &Primary, consumer: ConsumerId, account: AccountId, then: Option<TeamRole>) -> Result<PgTransaction<'static>, StoreError> {
    let mut tx = primary.pool().begin().await?;
    let rows = query_file!("queries/team_member/lock.sql", consumer.uuid()).fetch_all(&mut *tx).await?;
    if !rows.iter().any(|row| row.account_id == account.uuid()) {
        return Err(StoreError::not_found("team member", account.to_string()));
    }
    let is_owner = |role: &str| role == TeamRole::Owner.as_str();
    // Whoever is shut out owns nothing.
    let is_active = |state: &str| state == AccountState::Active.as_str();
    let has_other = rows.iter().any(|row| row.account_id != account.uuid() && is_owner(&row.role) && is_active(&row.state));
    if then != Some(TeamRole::Owner) && !has_other {
        return Err(StoreError::conflict("team_last_owner", "a team has at least one owner: make somebody else one first"));
    }
    Ok(tx)
}

/// Makes somebody a member; who is one already stays what they are, and then the answer is false.
pub(super) async fn join(connection: &mut PgConnection, consumer: ConsumerId, account: AccountId, role: TeamRole) -> Result<bool, StoreError> {
    let done = query_file!("queries/team_member/insert.sql", consumer.uuid(), account.uuid(), role.as_str()).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}
