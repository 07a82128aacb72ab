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

/// What somebody has shown when a session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The password.
    Password,
    /// The password, and a code of their second factor.
    SecondFactor,
    /// The word of an `OpenID` provider.
    Provider,
}

impl Proof {
    /// The name in the database.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::SecondFactor => "second_factor",
            Self::Provider => "provider",
        }
    }

    fn stored(text: &str) -> Result<Self, StoreError> {
        [Self::Password, Self::SecondFactor, Self::Provider]
            .into_iter()
            .find(|proof| proof.as_str() == text)
            .ok_or_else(|| wire::corrupt("proof of a session", text))
    }
}

/// A session, with whose it is.
#[derive(Debug, Clone)]
pub struct Session {
    /// Whose it is.
    pub account: AccountInfo,
    /// What was shown when it began.
    pub proof: Proof,
    /// When it began.
    pub created_at: UtcMicros,
    /// When it was last used.
    pub seen_at: UtcMicros,
    /// When it ends, used or not.
    pub expires_at: UtcMicros,
}

/// What a new session is made of.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<'a> {
    /// SHA-256 of what the cookie holds.
    pub digest: &'a [u8; 32],
    /// Whose it is.
    pub account: AccountId,
    /// What was shown.
    pub proof: Proof,
    /// When it begins.
    pub at: UtcMicros,
    /// When it ends, used or not.
    pub expires_at: UtcMicros,
}

/// Begins a session. The account keeps its newest [`SESSIONS_MAX`].
///
/// # Errors
/// [`StoreError::NotFound`] without such an account; [`StoreError::Conflict`] with `account_state` when it is not active: one that is
/// disabled at the same moment gets no session that would outlive it.
pub async fn begin(primary: &Primary, new: NewSession<'_>) -> Result<(), StoreError> {
    let mut tx = primary.pool().begin().await?;
    lock_active(&mut tx, new.account).await?;
    begin_on(&mut tx, new).await?;
    tx.commit().await.map_err(StoreError::at_commit)
}

/// Begins a session of an account whose row the transaction holds.
pub(super) async fn begin_on(connection: &mut PgConnection, new: NewSession<'_>) -> Result<(), StoreError> {
    let NewSession { digest, account, proof, at, expires_at } = new;
    let (digest, at, expires_at) = (digest.as_slice(), wire::instant(at)?, wire::instant(expires_at)?);
    query_file!("queries/account_session/insert.sql", digest, account.uuid(), at, expires_at, proof.as_str()).execute(&mut *connection).await?;
    query_file!("queries/account_session/keep_newest.sql", account.uuid(), digest, at, i64::from(SESSIONS_MAX)).execute(&mut *connection).await?;
    query_file!("queries/account_session/trim.sql", at).execute(connection).await?;
    Ok(())
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
        has_second_factor: row.has_second_factor,
    };
    Ok(Some(Session {
        account: account.into_info()?,
        proof: Proof::stored(&row.proof)?,
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

/// Ends all sessions of an account, and says how many there were. Sign-ins that wait for their code end, too.
///
/// # Errors
/// [`StoreError`].
pub async fn end_all(primary: &Primary, account: AccountId) -> Result<u64, StoreError> {
    let mut connection = primary.pool().acquire().await?;
    end_all_on(&mut connection, account).await
}

pub(super) async fn end_all_on(connection: &mut PgConnection, account: AccountId) -> Result<u64, StoreError> {
    query_file!("queries/account_sign_in/end_all.sql", account.uuid()).execute(&mut *connection).await?;
    Ok(query_file!("queries/account_session/end_all.sql", account.uuid()).execute(connection).await?.rows_affected())
}
