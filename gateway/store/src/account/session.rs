//! Sessions: an account that is signed in with a browser. The cookie holds an opaque id; here is its SHA-256.

use model::{id::AccountId, time::UtcMicros};
use sqlx::{PgConnection, query_file};

use super::{AccountInfo, Row, lock_active};
use crate::{
    error::StoreError,
    pool::{Primary, Reader},
    wire,
};

/// Sessions that an account has at once: more browsers than a person uses.
pub const SESSIONS_MAX: u32 = 20;

/// A session, with whose it is.
#[derive(Debug, Clone)]
pub struct Session {
    /// Whose it is.
    pub account: AccountInfo,
    /// When it began.
    pub created_at: UtcMicros,
    /// When it was last used.
    pub seen_at: UtcMicros,
    /// When it ends, used or not.
    pub expires_at: UtcMicros,
}

/// Begins a session. The account keeps its newest [`SESSIONS_MAX`].
///
/// # Errors
/// [`StoreError::NotFound`] without such an account; [`StoreError::Conflict`] with `account_state` when it is not active: one that is
/// disabled at the same moment gets no session that would outlive it.
pub async fn begin(primary: &Primary, digest: &[u8; 32], account: AccountId, at: UtcMicros, expires_at: UtcMicros) -> Result<(), StoreError> {
    let (at, expires_at) = (wire::instant(at)?, wire::instant(expires_at)?);
    let mut tx = primary.pool().begin().await?;
    lock_active(&mut tx, account).await?;
    query_file!("queries/account_session/insert.sql", digest.as_slice(), account.uuid(), at, expires_at).execute(&mut *tx).await?;
    query_file!("queries/account_session/keep_newest.sql", account.uuid(), digest.as_slice(), at, i64::from(SESSIONS_MAX)).execute(&mut *tx).await?;
    query_file!("queries/account_session/trim.sql", at).execute(&mut *tx).await?;
    tx.commit().await.map_err(StoreError::at_commit)
}

/// The session with this digest, whatever its times and the state of its account: the caller decides what they mean.
///
/// # Errors
/// [`StoreError`]; an unknown one is `None`.
pub async fn find(reader: &impl Reader, digest: &[u8; 32]) -> Result<Option<Session>, StoreError> {
    let row = query_file!("queries/account_session/find.sql", digest.as_slice()).fetch_optional(reader.reader_pool()).await?;
    let Some(row) = row else { return Ok(None) };
    let account = Row {
        id: row.id,
        email: row.email,
        name: row.name,
        state: row.state,
        role: row.role,
        organization: row.organization,
        created_at: row.created_at,
    };
    Ok(Some(Session {
        account: account.into_info()?,
        created_at: UtcMicros::from_datetime(row.begun_at),
        seen_at: UtcMicros::from_datetime(row.seen_at),
        expires_at: UtcMicros::from_datetime(row.expires_at),
    }))
}

/// Notes that a session was used; one that has ended is left alone.
///
/// # Errors
/// [`StoreError`].
pub async fn touch(primary: &Primary, digest: &[u8; 32], at: UtcMicros) -> Result<(), StoreError> {
    query_file!("queries/account_session/touch.sql", digest.as_slice(), wire::instant(at)?).execute(primary.pool()).await?;
    Ok(())
}

/// Ends a session; doing it again changes nothing.
///
/// # Errors
/// [`StoreError`].
pub async fn end(primary: &Primary, digest: &[u8; 32]) -> Result<(), StoreError> {
    query_file!("queries/account_session/end.sql", digest.as_slice()).execute(primary.pool()).await?;
    Ok(())
}

/// Ends all sessions of an account, and says how many there were.
///
/// # Errors
/// [`StoreError`].
pub async fn end_all(primary: &Primary, account: AccountId) -> Result<u64, StoreError> {
    let mut connection = primary.pool().acquire().await?;
    end_all_on(&mut connection, account).await
}

pub(super) async fn end_all_on(connection: &mut PgConnection, account: AccountId) -> Result<u64, StoreError> {
    Ok(query_file!("queries/account_session/end_all.sql", account.uuid()).execute(connection).await?.rows_affected())
}
