//! Operator tokens: hashed like keys, and kept apart from them. Nodes never see these.

use model::{
    key::{Digest, Issued, KeyId},
    time::UtcMicros,
};
use serde::Serialize;
use sqlx::query_file;

use crate::{
    actor::Actor,
    error::StoreError,
    page::{Page, PageRequest},
    pool::{Primary, Reader},
    wire,
};

/// A token as the control plane checks it.
#[derive(Debug, Clone)]
pub struct OperatorToken {
    /// Its public id.
    pub id: KeyId,
    /// Whose it is.
    pub name: String,
    /// HMAC of the secret.
    pub digest: Digest,
    /// The pepper version of the digest.
    pub pepper_version: u16,
    /// `viewer`, `developer`, `approver`, `operator`, `security` or `auditor`.
    pub role: String,
    /// When it stops being valid; never when absent.
    pub expires_at: Option<UtcMicros>,
}

/// A token for lists.
#[derive(Debug, Clone, Serialize)]
pub struct OperatorInfo {
    /// Its public id.
    pub id: KeyId,
    /// Whose it is.
    pub name: String,
    /// Its role.
    pub role: String,
    /// When it stops being valid; never when absent.
    pub expires_at: Option<UtcMicros>,
    /// When it was made.
    pub created_at: UtcMicros,
}

/// What a new token is made of.
#[derive(Debug, Clone, Copy)]
pub struct NewOperator<'a> {
    /// The credential that was just made.
    pub issued: &'a Issued,
    /// Whose it is; unique.
    pub name: &'a str,
    /// Its role.
    pub role: &'a str,
    /// When it stops being valid; never when absent.
    pub expires_at: Option<UtcMicros>,
}

/// The token with this id, revoked ones excluded.
///
/// # Errors
/// [`StoreError`]; an unknown id is `None`.
pub async fn find(reader: &impl Reader, id: &KeyId) -> Result<Option<OperatorToken>, StoreError> {
    let row = query_file!("queries/operator_token/find.sql", id.as_str()).fetch_optional(reader.reader_pool()).await?;
    let Some(row) = row else { return Ok(None) };
    let digest = row.digest.try_into().map_err(|_| wire::corrupt("operator digest", "it has not 32 bytes"))?;
    let pepper_version = u16::try_from(row.pepper_version).map_err(|_| wire::corrupt("pepper version", "it is out of range"))?;
    Ok(Some(OperatorToken {
        id: *id,
        name: row.name,
        digest: Digest(digest),
        pepper_version,
        role: row.role,
        expires_at: row.expires_at.map(UtcMicros::from_datetime),
    }))
}

/// Stores a token: its digest and what is public.
///
/// # Errors
/// [`StoreError::Conflict`] when the name is taken, [`StoreError::Invalid`] for an unknown role.
pub async fn create(primary: &Primary, new: NewOperator<'_>, actor: &Actor) -> Result<OperatorInfo, StoreError> {
    let id = new.issued.id;
    let expires_at = new.expires_at.map(wire::instant).transpose()?;
    let row = query_file!(
        "queries/operator_token/insert.sql",
        id.as_str(),
        new.issued.digest.0.as_slice(),
        i32::from(new.issued.pepper_version),
        new.name,
        new.role,
        expires_at,
        actor.to_string()
    )
    .fetch_one(primary.pool())
    .await?;
    Ok(OperatorInfo {
        id,
        name: new.name.to_owned(),
        role: new.role.to_owned(),
        expires_at: new.expires_at,
        created_at: UtcMicros::from_datetime(row.created_at),
    })
}

/// Tokens that are not revoked, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(reader: &impl Reader, page: &PageRequest) -> Result<Page<OperatorInfo>, StoreError> {
    let place = page.place()?;
    let (at, after) = (place.as_ref().map(|place| place.at), place.as_ref().map(|place| place.rest.as_str()));
    let rows = query_file!("queries/operator_token/list.sql", at, after, page.rows()).fetch_all(reader.reader_pool()).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(OperatorInfo {
            id: KeyId::parse(&row.id).ok_or_else(|| wire::corrupt("operator token id", row.id))?,
            name: row.name,
            role: row.role,
            expires_at: row.expires_at.map(UtcMicros::from_datetime),
            created_at: UtcMicros::from_datetime(row.created_at),
        });
    }
    Ok(Page::cut(page, items, |info| (info.created_at, info.id.to_string())))
}

/// Revokes a token; doing it again changes nothing.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn revoke(primary: &Primary, id: &KeyId, actor: &Actor) -> Result<(), StoreError> {
    let done = query_file!("queries/operator_token/revoke.sql", id.as_str(), actor.to_string()).execute(primary.pool()).await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::not_found("operator token", id.to_string()));
    }
    Ok(())
}
