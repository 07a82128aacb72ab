//! Second factors: a sealed secret that codes are made of (RFC 6238), and codes for whoever has lost the device.
//!
//! A code counts once, whichever node is asked: the primary keeps the step of the last one.

use std::fmt;

use model::id::AccountId;
use sqlx::{PgConnection, query_file, query_file_scalar};

use super::{AccountInfo, lock, lock_active, reset, session, token, unchanged};
use crate::{
    actor::Actor,
    error::StoreError,
    pool::{Primary, Reader},
    wire,
};

/// A second factor, sealed.
#[derive(Clone)]
pub struct SecondFactor {
    /// The secret, sealed by the caller.
    pub sealed: Vec<u8>,
    /// The pepper that the seal and the digests of recovery codes are under.
    pub pepper_version: u16,
    /// The step of the last code that was taken.
    pub last_step: u64,
    /// How many recovery codes are left.
    pub recovery_codes: u64,
}

impl fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondFactor").field("pepper_version", &self.pepper_version).finish_non_exhaustive()
    }
}

/// What a new second factor is made of.
#[derive(Clone, Copy)]
pub struct NewSecondFactor<'a> {
    /// The secret, sealed by the caller.
    pub sealed: &'a [u8],
    /// The pepper that the seal and the digests are under.
    pub pepper_version: u16,
    /// The step of the code that showed that the device has the secret; it counts no second time.
    pub step: u64,
    /// Digests of the recovery codes.
    pub recovery_codes: &'a [[u8; 32]],
}

impl fmt::Debug for NewSecondFactor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSecondFactor").field("pepper_version", &self.pepper_version).finish_non_exhaustive()
    }
}

/// What somebody has shown, as far as the caller could check it. The database says whether it is the first time.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// The code of a step.
    Step(u64),
    /// The digest of a recovery code.
    RecoveryCode(&'a [u8; 32]),
}

/// The second factor of an account, if it has one.
///
/// # Errors
/// [`StoreError`].
pub async fn find(reader: &impl Reader, account: AccountId) -> Result<Option<SecondFactor>, StoreError> {
    let row = query_file!("queries/account_second_factor/find.sql", account.uuid()).fetch_optional(reader.reader_pool()).await?;
    let Some(row) = row else { return Ok(None) };
    let left = query_file_scalar!("queries/account_recovery_code/count.sql", account.uuid()).fetch_one(reader.reader_pool()).await?;
    Ok(Some(SecondFactor {
        sealed: row.secret,
        pepper_version: u16::try_from(row.pepper_version).map_err(|_| wire::corrupt("pepper version", "it is out of range"))?,
        last_step: wire::count(row.last_step, "last step")?,
        recovery_codes: wire::count(left, "recovery codes")?,
    }))
}

/// Gives an account a second factor; its sessions end, since they were begun without.
///
/// # Errors
/// [`StoreError::NotFound`] without such an account; [`StoreError::Conflict`] with `account_state` when it is not active, and with
/// `second_factor_set` when it has one: whoever knows the password alone must not put theirs in its place.
pub async fn enable(primary: &Primary, account: AccountId, new: NewSecondFactor<'_>) -> Result<(), StoreError> {
    let NewSecondFactor { sealed, pepper_version, step, recovery_codes } = new;
    let digests: Vec<Vec<u8>> = recovery_codes.iter().map(|digest| digest.to_vec()).collect();
    let mut tx = primary.pool().begin().await?;
    lock_active(&mut tx, account).await?;
    let (version, step) = (i32::from(pepper_version), wire::bigint(step)?);
    let made = query_file!("queries/account_second_factor/insert.sql", account.uuid(), sealed, version, step).execute(&mut *tx).await?;
    if made.rows_affected() == 0 {
        return Err(StoreError::conflict("second_factor_set", format!("account `{account}` has a second factor already")));
    }
    query_file!("queries/account_recovery_code/insert.sql", account.uuid(), &digests).execute(&mut *tx).await?;
    session::end_all_on(&mut tx, account).await?;
    // What the password alone has made is worth no more than the password alone.
    token::revoke_all_on(&mut tx, account).await?;
    tx.commit().await.map_err(StoreError::at_commit)
}

/// Takes the second factor from an account whose holder has shown it; its sessions end. False, and nothing has changed, when what was
/// shown has been used before.
///
/// # Errors
/// [`StoreError::NotFound`] without such an account; [`StoreError::Conflict`] with `account_state` when it is not active.
pub async fn disable(primary: &Primary, account: AccountId, shown: Shown<'_>) -> Result<bool, StoreError> {
    let mut tx = primary.pool().begin().await?;
    lock_active(&mut tx, account).await?;
    if !take_on(&mut tx, account, shown).await? {
        return Ok(false);
    }
    query_file!("queries/account_second_factor/delete.sql", account.uuid()).execute(&mut *tx).await?;
    session::end_all_on(&mut tx, account).await?;
    // Whoever holds an old link must not come in by it now that nothing else stands in the way.
    reset::withdraw_on(&mut tx, account).await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    Ok(true)
}

/// Takes the second factor from somebody who has lost it, and whose role as an operator is the one that the caller has looked at; their
/// sessions end.
///
/// # Errors
/// [`StoreError::NotFound`] without such an account; [`StoreError::Conflict`] with `second_factor_none` when it has none, and with
/// `account_role` when its role has changed.
pub async fn reset(primary: &Primary, (account, role): (AccountId, Option<&str>), actor: &Actor) -> Result<AccountInfo, StoreError> {
    let mut tx = primary.pool().begin().await?;
    let found = lock(&mut tx, account).await?;
    unchanged(&found, role)?;
    let done = query_file!("queries/account_second_factor/delete.sql", account.uuid()).execute(&mut *tx).await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::conflict("second_factor_none", format!("account `{account}` has no second factor")));
    }
    session::end_all_on(&mut tx, account).await?;
    token::revoke_all_on(&mut tx, account).await?;
    // Whoever holds an old link must not come in by it now that nothing else stands in the way.
    reset::withdraw_on(&mut tx, account).await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    tracing::info!(account.id = %account, actor = %actor, "the second factor of account {account} was taken away");
    Ok(AccountInfo { has_second_factor: false, ..found })
}

/// Uses up what was shown; false when that has happened before.
pub(super) async fn take_on(connection: &mut PgConnection, account: AccountId, shown: Shown<'_>) -> Result<bool, StoreError> {
    let done = match shown {
        Shown::Step(step) => {
            query_file!("queries/account_second_factor/take_step.sql", account.uuid(), wire::bigint(step)?).execute(connection).await?
        }
        Shown::RecoveryCode(digest) => {
            query_file!("queries/account_recovery_code/take.sql", account.uuid(), digest.as_slice()).execute(connection).await?
        }
    };
    Ok(done.rows_affected() == 1)
}
