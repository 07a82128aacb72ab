//! Links that lead to another password: an operator makes one for whoever has lost theirs. It works once.

use model::{id::AccountId, time::UtcMicros};
use sqlx::{PgConnection, query_file, query_file_scalar};

use super::{AccountInfo, AccountState, find as find_account, lock_active, session, token, unchanged};
use crate::{
    actor::Actor,
    error::StoreError,
    pool::{Primary, Reader},
    wire,
};

/// Makes a link for an account whose role as an operator is the one that the caller has looked at. The one before leads nowhere then.
///
/// # Errors
/// [`StoreError::NotFound`] without such an account; [`StoreError::Conflict`] with `account_state` when it is not active, with `account_role`
/// when its role has changed, and with `account_provided` when it has no password.
pub async fn issue(
    primary: &Primary,
    (id, role): (AccountId, Option<&str>),
    digest: &[u8; 32],
    expires_at: UtcMicros,
    actor: &Actor,
) -> Result<AccountInfo, StoreError> {
    let expires_at = wire::instant(expires_at)?;
    let mut tx = primary.pool().begin().await?;
    let account = lock_active(&mut tx, id).await?;
    unchanged(&account, role)?;
    let put = query_file!("queries/account_reset/put.sql", id.uuid(), digest.as_slice(), actor.to_string(), expires_at).execute(&mut *tx).await?;
    if put.rows_affected() == 0 {
        return Err(StoreError::conflict("account_provided", format!("account `{id}` has no password")));
    }
    tx.commit().await.map_err(StoreError::at_commit)?;
    Ok(account)
}

/// Whose password a link leads to; `None` when it is unknown, used up or past, or its account is not active.
///
/// # Errors
/// [`StoreError`].
pub async fn find(reader: &impl Reader, digest: &[u8; 32], at: UtcMicros) -> Result<Option<AccountInfo>, StoreError> {
    let mut connection = reader.reader_pool().acquire().await?;
    let id = query_file_scalar!("queries/account_reset/find.sql", digest.as_slice(), wire::instant(at)?).fetch_optional(&mut *connection).await?;
    let Some(id) = id else { return Ok(None) };
    let account = find_account(&mut connection, AccountId::new(id)).await?;
    Ok(Some(account).filter(|account| account.state == AccountState::Active))
}

/// Uses a link up: the account has another password, an argon2id hash in PHC form, and its sessions and tokens end. Its second factor stays.
///
/// # Errors
/// [`StoreError::NotFound`] when the link was used up, replaced or withdrawn in between, or is past; [`StoreError::Conflict`] with
/// `account_state` when the account is not active.
pub async fn accept(
    primary: &Primary,
    (id, digest): (AccountId, &[u8; 32]),
    at: UtcMicros,
    password: &str,
    pepper_version: u16,
) -> Result<(), StoreError> {
    let mut tx = primary.pool().begin().await?;
    lock_active(&mut tx, id).await?;
    let taken = query_file!("queries/account_reset/take.sql", id.uuid(), digest.as_slice(), wire::instant(at)?).execute(&mut *tx).await?;
    if taken.rows_affected() == 0 {
        // Not the digest: whoever reads the log learns nothing by it.
        return Err(StoreError::not_found("reset", "of this link"));
    }
    query_file!("queries/account/set_password.sql", id.uuid(), password, i32::from(pepper_version)).execute(&mut *tx).await?;
    session::end_all_on(&mut tx, id).await?;
    // Whoever knew the old password may have made one.
    token::revoke_all_on(&mut tx, id).await?;
    tx.commit().await.map_err(StoreError::at_commit)
}

/// Takes back a link that waits.
pub(super) async fn withdraw_on(connection: &mut PgConnection, id: AccountId) -> Result<(), StoreError> {
    query_file!("queries/account_reset/withdraw.sql", id.uuid()).execute(connection).await?;
    Ok(())
}
