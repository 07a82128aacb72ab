//! Keys that wait for approval, decided: let in, or refused with a reason. Both are one transaction that takes the lock on the authority
//! lane first, so of two decisions at the same time one is made, and the other is told which.

use model::{
    change::KeyState,
    id::{AccountId, ConsumerId},
    key::KeyId,
    time::UtcMicros,
};
use serde::Serialize;
use sqlx::{PgConnection, query_file, query_file_scalar};
use time::OffsetDateTime;

use super::{
    KeyInfo, RevokedReason, find,
    life::{finish, unchanged},
};
use crate::{
    actor::{Actor, ActorKind},
    error::StoreError,
    notification::{self, Kind},
    pool::Primary,
    wire,
    write::{ControlWrite, Lanes, Written},
};

/// The longest reason, in characters: it stands in a mail and on a page.
pub const REASON_CHARS_MAX: usize = 300;

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may be used.
    Approved,
    /// It never may.
    Refused,
}

impl Verdict {
    /// The name in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Refused => "refused",
        }
    }

    /// Reads that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Approved, Self::Refused].into_iter().find(|verdict| verdict.as_str() == text)
    }
}

/// A decision that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What it was.
    pub verdict: Verdict,
    /// Why a key was refused, in words for its team.
    pub reason: Option<String>,
    /// When.
    pub at: UtcMicros,
    /// By whom.
    pub by: String,
}

impl Decision {
    pub(super) fn stored(verdict: &str, reason: Option<String>, at: OffsetDateTime, by: String) -> Result<Self, StoreError> {
        let verdict = Verdict::parse(verdict).ok_or_else(|| wire::corrupt("verdict", verdict))?;
        Ok(Self { verdict, reason, at: UtcMicros::from_datetime(at), by })
    }
}

/// Lets a key be used that waits; doing it again changes nothing.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with `key_own_team` when the actor belongs to the key's team or has asked for it, with
/// `key_refused` when the key was refused before, and with `key_state` when it does not wait for another reason.
pub async fn approve(primary: &Primary, id: &KeyId, actor: &Actor) -> Result<Written<KeyInfo>, StoreError> {
    let (mut write, info) = begin(primary, id, actor).await?;
    match info.state {
        KeyState::Pending => {}
        KeyState::Active => return unchanged(write, info).await,
        KeyState::Revoked | KeyState::Disabled => return Err(not_open(&info)),
    }
    query_file!("queries/api_key/set_state.sql", id.as_str(), KeyState::Active.as_str(), actor.to_string()).execute(&mut *write.tx).await?;
    note(&mut write.tx, id, Verdict::Approved, None, actor).await?;
    let approved = find(&mut write.tx, id).await?;
    notification::key_changed(&mut write.tx, Kind::KeyApproved, &approved, actor).await?;
    finish(write, id).await
}

/// Refuses a key that waits, for good: it is revoked, and its team is told why. Doing it again changes nothing, and the first reason stays.
/// The caller has checked that `reason` has 1 to [`REASON_CHARS_MAX`] characters.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with `key_own_team` when the actor belongs to the key's team or has asked for it, with
/// `key_approved` when the key was approved before, and with `key_state` when it does not wait for another reason.
pub async fn refuse(primary: &Primary, id: &KeyId, reason: &str, actor: &Actor) -> Result<Written<KeyInfo>, StoreError> {
    let (mut write, info) = begin(primary, id, actor).await?;
    match info.state {
        KeyState::Pending => {}
        KeyState::Revoked if info.revoked_reason == Some(RevokedReason::Refused) => return unchanged(write, info).await,
        KeyState::Revoked | KeyState::Active | KeyState::Disabled => return Err(not_open(&info)),
    }
    query_file!("queries/api_key/revoke.sql", id.as_str(), actor.to_string(), RevokedReason::Refused.as_str()).fetch_one(&mut *write.tx).await?;
    note(&mut write.tx, id, Verdict::Refused, Some(reason), actor).await?;
    let refused = find(&mut write.tx, id).await?;
    notification::key_changed(&mut write.tx, Kind::KeyRefused, &refused, actor).await?;
    finish(write, id).await
}

/// Locks, reads the key, and checks that it is somebody else's to whoever decides.
async fn begin(primary: &Primary, id: &KeyId, actor: &Actor) -> Result<(ControlWrite, KeyInfo), StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let info = find(&mut write.tx, id).await?;
    // Whoever has asked for it and has left the team since decides as little as those who are in it.
    if actor.kind == ActorKind::Account && (info.created_by == actor.to_string() || is_member(&mut write.tx, info.consumer, actor).await?) {
        return Err(StoreError::conflict("key_own_team", format!("key {id} is of a team of {actor}")));
    }
    Ok((write, info))
}

async fn is_member(connection: &mut PgConnection, consumer: ConsumerId, actor: &Actor) -> Result<bool, StoreError> {
    let account: AccountId = actor.name.parse().map_err(|_| StoreError::invalid("an account without an id"))?;
    Ok(query_file_scalar!("queries/team_member/is_member.sql", consumer.uuid(), account.uuid()).fetch_one(connection).await?)
}

async fn note(connection: &mut PgConnection, id: &KeyId, verdict: Verdict, reason: Option<&str>, actor: &Actor) -> Result<(), StoreError> {
    let noted = query_file!("queries/key_decision/insert.sql", id.as_str(), verdict.as_str(), reason, actor.to_string());
    noted.execute(connection).await?;
    Ok(())
}

/// Why there is nothing to decide.
fn not_open(info: &KeyInfo) -> StoreError {
    let constraint = match info.decision.as_ref().map(|decision| decision.verdict) {
        Some(Verdict::Refused) => "key_refused",
        Some(Verdict::Approved) if info.state != KeyState::Revoked => "key_approved",
        Some(Verdict::Approved) | None => "key_state",
    };
    StoreError::conflict(constraint, format!("key {} is {}", info.id, info.state.as_str()))
}
