//! Sign-ins that wait for the second factor: the password was right, and nothing is open yet.

use model::{id::AccountId, time::UtcMicros};
use sqlx::{query_file, query_file_scalar};

use super::{
    lock_active,
    second_factor::{self, Shown},
    session::{self, NewSession},
};
use crate::{
    error::StoreError,
    pool::{Primary, Reader},
    wire,
};

/// How often a code may be tried before the password is asked for again.
pub const TRIES_MAX: i32 = 5;

/// Sign-ins of one account that wait at once.
const WAITING_MAX: i64 = 5;

/// Notes that somebody has shown the password of an account. The account keeps its newest few.
///
/// # Errors
/// [`StoreError::NotFound`] without such an account; [`StoreError::Conflict`] with `account_state` when it is not active.
pub async fn begin(primary: &Primary, digest: &[u8; 32], account: AccountId, at: UtcMicros, expires_at: UtcMicros) -> Result<(), StoreError> {
    let (digest, at, expires_at) = (digest.as_slice(), wire::instant(at)?, wire::instant(expires_at)?);
    let mut tx = primary.pool().begin().await?;
    lock_active(&mut tx, account).await?;
    query_file!("queries/account_sign_in/insert.sql", digest, account.uuid(), at, expires_at).execute(&mut *tx).await?;
    query_file!("queries/account_sign_in/keep_newest.sql", account.uuid(), digest, WAITING_MAX).execute(&mut *tx).await?;
    query_file!("queries/account_sign_in/trim.sql", at).execute(&mut *tx).await?;
    tx.commit().await.map_err(StoreError::at_commit)
}

/// Whether a sign-in waits, and has a try left.
///
/// # Errors
/// [`StoreError`].
pub async fn is_open(reader: &impl Reader, digest: &[u8; 32], at: UtcMicros) -> Result<bool, StoreError> {
    let row = query_file_scalar!("queries/account_sign_in/is_open.sql", digest.as_slice(), wire::instant(at)?, TRIES_MAX);
    Ok(row.fetch_optional(reader.reader_pool()).await?.is_some())
}

/// Counts a try, before the code is looked at, and says whose it is; `None` when there is no such sign-in, or no try left.
///
/// # Errors
/// [`StoreError`].
pub async fn try_once(primary: &Primary, digest: &[u8; 32], at: UtcMicros) -> Result<Option<AccountId>, StoreError> {
    let row = query_file_scalar!("queries/account_sign_in/try_once.sql", digest.as_slice(), wire::instant(at)?, TRIES_MAX);
    Ok(row.fetch_optional(primary.pool()).await?.map(AccountId::new))
}

/// Ends a sign-in with its session, which takes the proof that was shown with it. False, and nothing has changed, when the sign-in has
/// ended or what was shown has been used before.
///
/// # Errors
/// [`StoreError::NotFound`] without such an account; [`StoreError::Conflict`] with `account_state` when it is not active.
pub async fn finish(primary: &Primary, digest: &[u8; 32], shown: Shown<'_>, new: NewSession<'_>) -> Result<bool, StoreError> {
    let mut tx = primary.pool().begin().await?;
    // The account first, as everywhere: what ends its sign-ins waits for this one, or comes before it.
    lock_active(&mut tx, new.account).await?;
    let ended =
        query_file!("queries/account_sign_in/end.sql", digest.as_slice(), new.account.uuid(), wire::instant(new.at)?).execute(&mut *tx).await?;
    if ended.rows_affected() == 0 || !second_factor::take_on(&mut tx, new.account, shown).await? {
        return Ok(false);
    }
    session::begin_on(&mut tx, new).await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    Ok(true)
}
