//! What a key goes through between its making and its end: rolls, pauses, changes. Each is one transaction that takes the lock
//! on the authority lane first, so that a roll and a revocation at the same time happen one after the other.

use model::{
    change::{AuthorityChange, KeyState},
    key::{Issued, KeyId},
    restriction::Restrictions,
    time::UtcMicros,
};
use serde::{Deserialize, Deserializer};
use sqlx::query_file;

use super::{KeyInfo, find, plan_id, row_on, stored};
use crate::{
    actor::Actor,
    error::StoreError,
    pool::Primary,
    wire,
    write::{ControlWrite, Lanes, Written},
};

/// What becomes of a member that a key can have for itself (RFC 7396 section 2): null is not the same as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// It stays.
    #[default]
    Keep,
    /// The key has none of its own any more.
    Reset,
    /// It is this.
    Set(T),
}

impl<T> Patch<T> {
    /// The member afterwards.
    pub fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Reset => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Reset, Self::Set))
    }
}

/// What of a key is changed; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct KeyChange {
    /// What its owner calls it.
    pub name: Option<String>,
    /// Its own scopes.
    pub scopes: Patch<Vec<String>>,
    /// Its own plan by name.
    pub plan: Patch<String>,
    /// Where it may be used.
    pub restrictions: Option<Restrictions>,
    /// When it stops being valid.
    pub expires_at: Option<UtcMicros>,
}

/// Gives a key another secret. The one before is taken until `overlap_until`, or not any more when that is absent. It ends in
/// any case with the key itself, and when the key is rolled again.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with `key_state` when the key is revoked or not approved yet.
pub async fn roll(
    primary: &Primary,
    id: &KeyId,
    issued: &Issued,
    overlap_until: Option<UtcMicros>,
    actor: &Actor,
) -> Result<Written<KeyInfo>, StoreError> {
    let until = overlap_until.map(wire::instant).transpose()?;
    let (mut write, _) = begin(primary, id, &[KeyState::Active, KeyState::Disabled], actor).await?;
    let (digest, version) = (issued.digest.0, i32::from(issued.pepper_version));
    query_file!("queries/api_key/roll.sql", id.as_str(), digest.as_slice(), version, issued.last_four(), until).execute(&mut *write.tx).await?;
    finish(write, id).await
}

/// Ends the overlap of a roll now; doing it again changes nothing.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with `key_state` when the key is revoked.
pub async fn end_overlap(primary: &Primary, id: &KeyId, actor: &Actor) -> Result<Written<KeyInfo>, StoreError> {
    let (mut write, info) = begin(primary, id, &[KeyState::Active, KeyState::Disabled, KeyState::Pending], actor).await?;
    let ended = query_file!("queries/api_key/end_overlap.sql", id.as_str()).execute(&mut *write.tx).await?;
    if ended.rows_affected() == 0 { unchanged(write, info).await } else { finish(write, id).await }
}

/// Puts a key into another of its reversible states; doing it again changes nothing. Approving is `Pending` to `Active`.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with `key_state` when it is in neither state.
pub async fn set_state(primary: &Primary, id: &KeyId, from: KeyState, to: KeyState, actor: &Actor) -> Result<Written<KeyInfo>, StoreError> {
    let (mut write, info) = begin(primary, id, &[from, to], actor).await?;
    if info.state == to {
        return unchanged(write, info).await;
    }
    query_file!("queries/api_key/set_state.sql", id.as_str(), to.as_str()).execute(&mut *write.tx).await?;
    finish(write, id).await
}

/// Changes what a key is called and what it may.
///
/// # Errors
/// [`StoreError::NotFound`], also without such a plan; [`StoreError::Conflict`] with `key_state` when the key is revoked.
pub async fn change(primary: &Primary, id: &KeyId, change: KeyChange, actor: &Actor) -> Result<Written<KeyInfo>, StoreError> {
    let (mut write, before) = begin(primary, id, &[KeyState::Pending, KeyState::Active, KeyState::Disabled], actor).await?;
    let plan = plan_id(&mut write.tx, change.plan.apply(before.plan).as_deref()).await?;
    let scopes = change.scopes.apply(before.scopes);
    query_file!(
        "queries/api_key/change.sql",
        id.as_str(),
        change.name.unwrap_or(before.name),
        scopes.as_deref(),
        plan,
        stored::restrictions(&change.restrictions.unwrap_or(before.restrictions))?,
        wire::instant(change.expires_at.unwrap_or(before.expires_at))?
    )
    .execute(&mut *write.tx)
    .await?;
    finish(write, id).await
}

/// Locks, reads the key, and checks that its state allows the act.
async fn begin(primary: &Primary, id: &KeyId, allowed: &[KeyState], actor: &Actor) -> Result<(ControlWrite, KeyInfo), StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let info = find(&mut write.tx, id).await?;
    if !allowed.contains(&info.state) {
        let detail = format!("key {id} is {}", info.state.as_str());
        return Err(StoreError::Conflict { constraint: "key_state".to_owned(), detail });
    }
    Ok((write, info))
}

async fn finish(mut write: ControlWrite, id: &KeyId) -> Result<Written<KeyInfo>, StoreError> {
    let row = row_on(&mut write.tx, id).await?;
    write.authority(&AuthorityChange::Key(row))?;
    let item = find(&mut write.tx, id).await?;
    Ok(Written { item, revisions: write.commit().await? })
}

async fn unchanged(mut write: ControlWrite, item: KeyInfo) -> Result<Written<KeyInfo>, StoreError> {
    let revisions = write.heads().await?;
    write.rollback().await?;
    Ok(Written { item, revisions })
}
