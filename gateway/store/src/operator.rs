//! Operator tokens: hashed like keys, and kept apart from them. Nodes never see these.

use model::{
    key::{Digest, Issued, KeyId},
    time::UtcMicros,
};
use serde::Serialize;

use crate::{
    actor::Actor,
    error::StoreError,
    page::{Page, PageRequest},
    pool::{Primary, Reader},
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
    todo!()
}

/// Stores a token: its digest and what is public.
///
/// # Errors
/// [`StoreError::Conflict`] when the name is taken, [`StoreError::Invalid`] for an unknown role.
pub async fn create(primary: &Primary, new: NewOperator<'_>, actor: &Actor) -> Result<OperatorInfo, StoreError> {
    todo!()
}

/// Tokens that are not revoked, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(reader: &impl Reader, page: &PageRequest) -> Result<Page<OperatorInfo>, StoreError> {
    todo!()
}

/// Revokes a token; doing it again changes nothing.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn revoke(primary: &Primary, id: &KeyId, actor: &Actor) -> Result<(), StoreError> {
    todo!()
}
