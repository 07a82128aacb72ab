//! API keys: made once, listed by what is public, revoked for good.

use model::{
    change::{KeyState, Revisions},
    id::{ApplicationId, ConsumerId},
    key::{Issued, KeyId},
    time::UtcMicros,
};
use serde::Serialize;

use crate::{
    actor::Actor,
    error::StoreError,
    page::{Page, PageRequest},
    pool::{Primary, Reader},
    write::Written,
};

/// A key without anything that authenticates.
#[derive(Debug, Clone, Serialize)]
pub struct KeyInfo {
    /// Its public id.
    pub id: KeyId,
    /// What its owner calls it.
    pub name: String,
    /// The application that holds it.
    pub application: ApplicationId,
    /// That application's name.
    pub application_name: String,
    /// The consumer behind the application.
    pub consumer: ConsumerId,
    /// That consumer's name.
    pub consumer_name: String,
    /// The name of the tenant.
    pub tenant: String,
    /// `cw_live_` or `cw_test_`.
    pub prefix: String,
    /// The last four characters of the text, all of them checksum: by them people recognize a key.
    pub last_four: String,
    /// Its own scopes; the application's when absent.
    pub scopes: Option<Vec<String>>,
    /// Whether it may be used.
    pub state: KeyState,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
    /// When it was made.
    pub created_at: UtcMicros,
    /// By whom.
    pub created_by: String,
    /// When it was revoked.
    pub revoked_at: Option<UtcMicros>,
    /// By whom.
    pub revoked_by: Option<String>,
}

/// What a new key is made of; the caller has checked the texts.
#[derive(Debug, Clone, Copy)]
pub struct NewKey<'a> {
    /// The credential that was just made.
    pub issued: &'a Issued,
    /// What its owner calls it.
    pub name: &'a str,
    /// The application that holds it.
    pub application: ApplicationId,
    /// Its own scopes; the application's when absent, none when empty.
    pub scopes: Option<&'a [String]>,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
}

/// Which keys are wanted.
#[derive(Debug, Clone, Default)]
pub struct KeyFilter {
    /// Only of this application.
    pub application: Option<ApplicationId>,
    /// Only in this state.
    pub state: Option<KeyState>,
    /// Only of this tenant, by name.
    pub tenant: Option<String>,
}

/// What a revocation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// The heads afterwards: a node that has applied them refuses the key.
    pub revisions: Revisions,
    /// When the key was revoked.
    pub at: UtcMicros,
    /// It had been revoked before; nothing was changed now.
    pub already: bool,
}

/// Keys, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(reader: &impl Reader, filter: &KeyFilter, page: &PageRequest) -> Result<Page<KeyInfo>, StoreError> {
    todo!()
}

/// One key.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(reader: &impl Reader, id: &KeyId) -> Result<KeyInfo, StoreError> {
    todo!()
}

/// Stores a key: its digest and what is public.
///
/// # Errors
/// [`StoreError::NotFound`] without such an application; [`StoreError::Conflict`] with `api_key_pk` when the random id is
/// taken (draw again).
pub async fn create(primary: &Primary, new: NewKey<'_>, actor: &Actor) -> Result<Written<KeyInfo>, StoreError> {
    todo!()
}

/// Revokes a key; doing it again changes nothing and says so.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn revoke(primary: &Primary, id: &KeyId, actor: &Actor) -> Result<Revoked, StoreError> {
    todo!()
}
