//! Accounts of people whom an `OpenID` provider vouches for: known by what the provider calls them, never by a mail address.

use model::{id::AccountId, time::UtcMicros};
use sqlx::{PgConnection, query_file, query_file_as, query_file_scalar};
use uuid::Uuid;

use super::{AccountInfo, Row, lock_active, reset, session, token, unchanged};
use crate::{actor::Actor, error::StoreError, pool::Primary, wire};

/// Somebody, as their provider has them.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The provider.
    pub issuer: &'a str,
    /// Who, unique within the provider.
    pub subject: &'a str,
}

/// What the provider says about somebody.
#[derive(Clone, Copy)]
pub struct NewIdentity<'a> {
    /// Who.
    pub identity: Identity<'a>,
    /// Where the person can be reached, in lower case.
    pub email: &'a str,
    /// What the person is called.
    pub name: &'a str,
    /// What the person may as an operator.
    pub role: &'a str,
}

impl std::fmt::Debug for NewIdentity<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewIdentity").field("role", &self.role).finish_non_exhaustive()
    }
}

/// Notes that an answer of the provider is used; false when that has happened before.
///
/// # Errors
/// [`StoreError`].
pub async fn use_once(primary: &Primary, digest: &[u8; 32], at: UtcMicros, expires_at: UtcMicros) -> Result<bool, StoreError> {
    let mut tx = primary.pool().begin().await?;
    query_file!("queries/account_provider_use/trim.sql", wire::instant(at)?).execute(&mut *tx).await?;
    let done = query_file!("queries/account_provider_use/insert.sql", digest.as_slice(), wire::instant(expires_at)?).execute(&mut *tx).await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    Ok(done.rows_affected() == 1)
}

/// The account of somebody, made when there is none, with the role that the provider's word stands for now.
///
/// # Errors
/// [`StoreError::Conflict`] with `account_email_unique` for somebody new whose address has an account already, and with `account_state`
/// for one that is not active.
pub async fn sign_in(primary: &Primary, new: NewIdentity<'_>) -> Result<AccountInfo, StoreError> {
    let mut tx = primary.pool().begin().await?;
    let account = match find(&mut tx, new.identity).await? {
        Some(id) => known(&mut tx, id, new.role).await?,
        None => made(&mut tx, new).await?,
    };
    tx.commit().await.map_err(StoreError::at_commit)?;
    Ok(account)
}

/// Makes somebody who has a password, and whose role as an operator is the one that the caller has looked at, one whom the provider vouches
/// for: what they signed in with ends, and their sessions and tokens with it.
///
/// # Errors
/// [`StoreError::NotFound`] without such an account; [`StoreError::Conflict`] with `account_state` when it is not active, with `account_role`
/// when its role has changed, with `account_provided` when it has no password, and with `account_identity_pk` when the identity is another's.
pub async fn link(
    primary: &Primary,
    (id, role): (AccountId, Option<&str>),
    Identity { issuer, subject }: Identity<'_>,
    actor: &Actor,
) -> Result<AccountInfo, StoreError> {
    let mut tx = primary.pool().begin().await?;
    let account = lock_active(&mut tx, id).await?;
    unchanged(&account, role)?;
    if query_file!("queries/account/forget_password.sql", id.uuid()).execute(&mut *tx).await?.rows_affected() == 0 {
        return Err(StoreError::conflict("account_provided", format!("account `{id}` has no password")));
    }
    query_file!("queries/account_identity/insert.sql", issuer, subject, id.uuid()).execute(&mut *tx).await?;
    query_file!("queries/account_second_factor/delete.sql", id.uuid()).execute(&mut *tx).await?;
    reset::withdraw_on(&mut tx, id).await?;
    session::end_all_on(&mut tx, id).await?;
    token::revoke_all_on(&mut tx, id).await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    tracing::info!(account.id = %id, actor = %actor, "account {id} signs in by a provider from now on");
    Ok(AccountInfo { has_second_factor: false, ..account })
}

/// Takes the role from somebody to whom the provider gives none any more, if there is such an account; its sessions end.
///
/// # Errors
/// [`StoreError`].
pub async fn withdraw(primary: &Primary, identity: Identity<'_>) -> Result<Option<AccountId>, StoreError> {
    let mut tx = primary.pool().begin().await?;
    let Some(id) = find(&mut tx, identity).await? else { return Ok(None) };
    query_file!("queries/account/withdraw_role.sql", id.uuid()).execute(&mut *tx).await?;
    session::end_all_on(&mut tx, id).await?;
    token::revoke_all_on(&mut tx, id).await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    Ok(Some(id))
}

async fn find(connection: &mut PgConnection, Identity { issuer, subject }: Identity<'_>) -> Result<Option<AccountId>, StoreError> {
    let id = query_file_scalar!("queries/account_identity/find.sql", issuer, subject).fetch_optional(connection).await?;
    Ok(id.map(AccountId::new))
}

async fn known(connection: &mut PgConnection, id: AccountId, role: &str) -> Result<AccountInfo, StoreError> {
    let account = lock_active(&mut *connection, id).await?;
    // Whoever signed in with a password while the account was linked to the provider is not whom the provider means.
    query_file!("queries/account_session/end_unprovided.sql", id.uuid()).execute(&mut *connection).await?;
    if account.role.as_deref() == Some(role) {
        return Ok(account);
    }
    query_file_as!(Row, "queries/account/set_role.sql", id.uuid(), role).fetch_one(connection).await?.into_info()
}

async fn made(connection: &mut PgConnection, new: NewIdentity<'_>) -> Result<AccountInfo, StoreError> {
    let NewIdentity { identity: Identity { issuer, subject }, email, name, role } = new;
    // The provider has verified the address; whoever waits for approval with it has not.
    query_file!("queries/account/forget_pending.sql", email).execute(&mut *connection).await?;
    let row = query_file_as!(Row, "queries/account/insert_provided.sql", Uuid::now_v7(), email, name, role);
    let account = row.fetch_one(&mut *connection).await?.into_info()?;
    query_file!("queries/account_identity/insert.sql", issuer, subject, account.id.uuid()).execute(connection).await?;
    Ok(account)
}
