//! What a key goes through between its making and its end: rolls, pauses, changes. Each is one transaction that takes the lock
//! on the authority lane first, so that a roll and a revocation at the same time happen one after the other.

use ipnet::IpNet;
use model::{
    certificate::Thumbprint,
    change::{AuthorityChange, KeyState},
    key::{Issued, KeyId},
    restriction::Restrictions,
    time::UtcMicros,
};
use serde::{Deserialize, Deserializer, Serialize};
use sqlx::query_file;

use super::{KeyInfo, find, plan_id, row_on, stored};
use crate::{
    actor::Actor,
    error::StoreError,
    notification::{self, Kind},
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
    /// The same in another form.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Self::Keep => Patch::Keep,
            Self::Reset => Patch::Reset,
            Self::Set(value) => Patch::Set(map(value)),
        }
    }

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
    /// Routes that it may be used on.
    pub routes: Patch<Vec<Box<str>>>,
    /// Methods that it may be used with.
    pub methods: Patch<Vec<Box<str>>>,
    /// Addresses that it may come from.
    pub addresses: Patch<Vec<IpNet>>,
    /// Certificates, one of which its connection must have shown.
    pub certificates: Patch<Vec<Thumbprint>>,
    /// When it stops being valid.
    pub expires_at: Option<UtcMicros>,
}

/// What a roll does to the overlap of the one before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhileRolling {
    /// The roll is refused: the present secret may be one that nobody has seen, and the previous one all that is in use.
    #[default]
    Refuse,
    /// The present secret is thrown away, and the previous one stays as long as it would have: for an answer that was lost.
    ReplacePresent,
    /// The previous secret ends at once.
    EndPrevious,
}

/// A roll.
#[derive(Debug, Clone, Copy)]
pub struct Roll<'a> {
    /// The new secret, with the key's own id.
    pub issued: &'a Issued,
    /// Until when the secret before is taken; not any more when absent.
    pub overlap_until: Option<UtcMicros>,
    /// What becomes of an overlap that is not over.
    pub while_rolling: WhileRolling,
    /// Which instant it is.
    pub now: UtcMicros,
}

/// Gives a key another secret. The one before ends with its overlap, and in any case with the key itself.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with `key_state` when the key is revoked or not approved yet, with
/// `key_rolling` when an overlap is not over and nothing is said about it.
pub async fn roll(primary: &Primary, id: &KeyId, roll: Roll<'_>, actor: &Actor) -> Result<Written<KeyInfo>, StoreError> {
    let until = roll.overlap_until.map(wire::instant).transpose()?;
    let (mut write, before) = begin(primary, id, &[KeyState::Active, KeyState::Disabled], actor).await?;
    let is_rolling = before.previous.as_ref().is_some_and(|previous| roll.now < previous.until);
    let (digest, version, last_four) = (roll.issued.digest.0, i32::from(roll.issued.pepper_version), roll.issued.last_four());
    match (is_rolling, roll.while_rolling) {
        (true, WhileRolling::Refuse) => {
            let detail = format!("key {id} is being rolled");
            return Err(StoreError::Conflict { constraint: "key_rolling".to_owned(), detail });
        }
        (true, WhileRolling::ReplacePresent) => {
            query_file!("queries/api_key/replace.sql", id.as_str(), digest.as_slice(), version, last_four).execute(&mut *write.tx).await?;
        }
        (true, WhileRolling::EndPrevious) | (false, _) => {
            query_file!("queries/api_key/roll.sql", id.as_str(), digest.as_slice(), version, last_four, until).execute(&mut *write.tx).await?;
        }
    }
    let rolled = find(&mut write.tx, id).await?;
    notification::key_changed(&mut write.tx, Kind::KeyRolled, &rolled, actor).await?;
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

/// Switches a key off or on; doing it again changes nothing. What waits for approval is [decided](super::decide) in another way.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with `key_state` when it is in neither state.
pub async fn set_state(primary: &Primary, id: &KeyId, from: KeyState, to: KeyState, actor: &Actor) -> Result<Written<KeyInfo>, StoreError> {
    let (mut write, info) = begin(primary, id, &[from, to], actor).await?;
    if info.state == to {
        return unchanged(write, info).await;
    }
    query_file!("queries/api_key/set_state.sql", id.as_str(), to.as_str(), actor.to_string()).execute(&mut *write.tx).await?;
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
    // Merged with what is there under the lock: two changes at once keep both restrictions.
    let restrictions = Restrictions {
        routes: change.routes.apply(before.restrictions.routes),
        methods: change.methods.apply(before.restrictions.methods),
        addresses: change.addresses.apply(before.restrictions.addresses),
        certificates: change.certificates.apply(before.restrictions.certificates),
    };
    query_file!(
        "queries/api_key/change.sql",
        id.as_str(),
        change.name.unwrap_or(before.name),
        scopes.as_deref(),
        plan,
        stored::restrictions(&restrictions)?,
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

pub(super) async fn finish(mut write: ControlWrite, id: &KeyId) -> Result<Written<KeyInfo>, StoreError> {
    let row = row_on(&mut write.tx, id).await?;
    write.authority(&AuthorityChange::Key(Box::new(row)))?;
    let item = find(&mut write.tx, id).await?;
    Ok(Written { item, revisions: write.commit().await? })
}

pub(super) async fn unchanged(mut write: ControlWrite, item: KeyInfo) -> Result<Written<KeyInfo>, StoreError> {
    let revisions = write.heads().await?;
    write.rollback().await?;
    Ok(Written { item, revisions })
}
