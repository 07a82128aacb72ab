//! Tokens of people, for their programs: hashed like keys, and kept apart from them. Nodes never see these.

use model::{
    id::AccountId,
    key::{Digest, Issued, KeyId},
    time::UtcMicros,
};
use serde::Serialize;
use sqlx::{PgConnection, query_file, query_file_scalar};

use super::lock_active;
use crate::{
    error::StoreError,
    pool::{Primary, Reader},
    wire,
};

/// Tokens that an account has at once: more programs than a person knows of.
pub const TOKENS_MAX: u32 = 20;
/// Seconds for which a token that has ended is kept: until then, whoever looks can still see that there was one.
const KEPT_SECONDS: i64 = 30 * 86_400;

/// A token as the control plane checks it.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// Its public id.
    pub id: KeyId,
    /// Whose it is.
    pub account: AccountId,
    /// HMAC of the secret.
    pub digest: Digest,
    /// The pepper version of the digest.
    pub pepper_version: u16,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
}

/// A token for lists.
#[derive(Debug, Clone, Serialize)]
pub struct TokenInfo {
    /// Its public id.
    pub id: KeyId,
    /// What its owner calls it.
    pub name: String,
    /// When it was made.
    pub created_at: UtcMicros,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
}

/// What a new token is made of.
#[derive(Debug, Clone, Copy)]
pub struct NewToken<'a> {
    /// The credential that was just made.
    pub issued: &'a Issued,
    /// Whose it is.
    pub account: AccountId,
    /// What its owner calls it.
    pub name: &'a str,
    /// The time now.
    pub at: UtcMicros,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
}

/// The token with this id, revoked ones excluded.
///
/// # Errors
/// [`StoreError`]; an unknown id is `None`.
pub async fn find(reader: &impl Reader, id: &KeyId) -> Result<Option<StoredToken>, StoreError> {
    let row = query_file!("queries/account_token/find.sql", id.as_str()).fetch_optional(reader.reader_pool()).await?;
    let Some(row) = row else { return Ok(None) };
    let digest = row.digest.try_into().map_err(|_| wire::corrupt("token digest", "it has not 32 bytes"))?;
    let pepper_version = u16::try_from(row.pepper_version).map_err(|_| wire::corrupt("pepper version", "it is out of range"))?;
    Ok(Some(StoredToken {
        id: *id,
        account: AccountId::new(row.account_id),
        digest: Digest(digest),
        pepper_version,
        expires_at: UtcMicros::from_datetime(row.expires_at),
    }))
}

/// Stores a token: its digest and what is public.
///
/// # Errors
/// [`StoreError::Conflict`] with `account_state` for an account that is not active, with `token_count` for one that has [`TOKENS_MAX`],
/// with `account_token_pk` when the id is taken; [`StoreError::NotFound`] without such an account.
pub async fn create(primary: &Primary, new: NewToken<'_>) -> Result<TokenInfo, StoreError> {
    let (at, expires_at) = (wire::instant(new.at)?, wire::instant(new.expires_at)?);
    let id = new.issued.id;
    let mut tx = primary.pool().begin().await?;
    // One after the other, so that their number holds.
    lock_active(&mut tx, new.account).await?;
    let past = wire::instant(new.at.plus_seconds(-KEPT_SECONDS))?;
    query_file!("queries/account_token/trim.sql", new.account.uuid(), past).execute(&mut *tx).await?;
    let n = query_file_scalar!("queries/account_token/count.sql", new.account.uuid(), at).fetch_one(&mut *tx).await?;
    if n >= i64::from(TOKENS_MAX) {
        return Err(StoreError::conflict("token_count", format!("account `{}` has {n} tokens", new.account)));
    }
    let row = query_file!(
        "queries/account_token/insert.sql",
        id.as_str(),
        new.account.uuid(),
        new.issued.digest.0.as_slice(),
        i32::from(new.issued.pepper_version),
        new.name,
        expires_at
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    Ok(TokenInfo { id, name: new.name.to_owned(), created_at: UtcMicros::from_datetime(row.created_at), expires_at: new.expires_at })
}

/// Tokens of an account that are not revoked, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn of_account(reader: &impl Reader, account: AccountId) -> Result<Vec<TokenInfo>, StoreError> {
    // Those that have ended are among them until they are trimmed.
    let rows = query_file!("queries/account_token/list.sql", account.uuid(), i64::from(TOKENS_MAX) * 5).fetch_all(reader.reader_pool()).await?;
    let infos = rows.into_iter().map(|row| {
        Ok(TokenInfo {
            id: KeyId::parse(&row.id).ok_or_else(|| wire::corrupt("token id", row.id))?,
            name: row.name,
            created_at: UtcMicros::from_datetime(row.created_at),
            expires_at: UtcMicros::from_datetime(row.expires_at),
        })
    });
    infos.collect()
}

/// Revokes a token of an account; doing it again changes nothing.
///
/// # Errors
/// [`StoreError::NotFound`], also for one of another account.
pub async fn revoke(primary: &Primary, account: AccountId, id: &KeyId) -> Result<(), StoreError> {
    let done = query_file!("queries/account_token/revoke.sql", id.as_str(), account.uuid()).execute(primary.pool()).await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::not_found("token", id.to_string()));
    }
    Ok(())
}

/// Revokes all tokens of an account.
pub(super) async fn revoke_all_on(connection: &mut PgConnection, account: AccountId) -> Result<(), StoreError> {
    query_file!("queries/account_token/revoke_all.sql", account.uuid()).execute(connection).await?;
    Ok(())
}
