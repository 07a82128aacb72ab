//! Rolls, pauses, changes and revocations of a key. All but a roll can be sent again: what is so already stays so.

use axum::extract::{Path, Request, State};
use model::{
    change::KeyState,
    key::{self, KeyId},
    problem::ProblemKind,
};
use serde::{Deserialize, de::DeserializeOwned};
use store::{
    error::StoreError,
    key::{
        KeyInfo, Revoked, RevokedReason,
        life::{KeyChange, Patch, Roll},
    },
    write::Written,
};
use utoipa::ToSchema;

use super::{
    draw,
    receipt::{Receipt, Wait},
    view::{IssuedKey, Key, RevokedKey},
    wish::{self, ChangeKey, RollKey},
    with_secret,
};
use crate::{
    admin::{Changed, Reply, authority_revision, instant, store_refusal},
    body::{self, BODY_BYTES_MAX},
    guard::Permit,
    openapi::{form, operation::Doc},
    refusal::Refusal,
    state::ControlState,
};

/// A day: how long the secret before is taken when nothing is said.
pub(crate) const OVERLAP_DEFAULT_SECONDS: u32 = 24 * 60 * 60;

/// `POST /v1/keys/{id}/roll`: the only answer that ever holds the new secret.
pub(crate) async fn roll(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let id = key_id(&id)?;
    let wish: RollKey = optional_body(request).await?;
    body::check(&wish)?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let before = store::key::get(&primary, &id).await.map_err(|error| store_refusal(&error))?;
    let purpose = before.environment.purpose();
    let issued = draw(|state| key::reissue(purpose, id, state.peppers(), &state.random32()), &state)?;
    let overlap = wish.overlap.unwrap_or(OVERLAP_DEFAULT_SECONDS);
    let now = state.now().wall;
    let overlap_until = (overlap > 0).then(|| now.plus_seconds(i64::from(overlap)));
    let roll = Roll { issued: &issued, overlap_until, while_rolling: wish.while_rolling, now };
    let rolled = store::key::life::roll(&primary, &id, roll, &permit.actor()).await.map_err(|error| store_refusal(&error))?;
    Ok(Reply::ok(&with_secret(rolled, &issued)).about(object(&id)))
}

/// `POST /v1/keys/{id}/end-overlap`: the secret before the last roll is not taken any more.
pub(crate) async fn end_overlap(
    State(state): State<ControlState>,
    permit: Permit,
    Path(id): Path<String>,
    request: Request,
) -> Result<Reply, Refusal> {
    let id = key_id(&id)?;
    optional_body::<Nothing>(request).await?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    Ok(changed(store::key::life::end_overlap(&primary, &id, &permit.actor()).await.map_err(|error| store_refusal(&error))?))
}

/// `POST /v1/keys/{id}/disable`.
pub(crate) async fn disable(state: State<ControlState>, permit: Permit, id: Path<String>, request: Request) -> Result<Reply, Refusal> {
    set_state(state, permit, id, request, KeyState::Active, KeyState::Disabled).await
}

/// `POST /v1/keys/{id}/enable`.
pub(crate) async fn enable(state: State<ControlState>, permit: Permit, id: Path<String>, request: Request) -> Result<Reply, Refusal> {
    set_state(state, permit, id, request, KeyState::Disabled, KeyState::Active).await
}

async fn set_state(
    State(state): State<ControlState>,
    permit: Permit,
    Path(id): Path<String>,
    request: Request,
    from: KeyState,
    to: KeyState,
) -> Result<Reply, Refusal> {
    let id = key_id(&id)?;
    optional_body::<Nothing>(request).await?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    Ok(changed(store::key::life::set_state(&primary, &id, from, to, &permit.actor()).await.map_err(|error| store_refusal(&error))?))
}

/// `PATCH /v1/keys/{id}` (RFC 7396).
pub(crate) async fn change(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let id = key_id(&id)?;
    body::expect_json(request.headers())?;
    let wish: ChangeKey = body::decode_object(&body::read(request, BODY_BYTES_MAX).await?)?;
    wish.check()?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let bound = wish.restrictions();
    if let Patch::Set(routes) = &bound.routes {
        wish::known_routes(&primary, routes).await?;
    }
    let expires_at = wish.expires_in.map(|seconds| state.now().wall.plus_seconds(i64::from(seconds)));
    let change = KeyChange { name: wish.name, scopes: wish.scopes, plan: wish.plan, expires_at, ..bound };
    match store::key::life::change(&primary, &id, change, &permit.actor()).await {
        Ok(written) => Ok(changed(written)),
        Err(StoreError::NotFound { what: "plan", .. }) => Err(Refusal::field("/plan", "unknown", "is not the name of a plan")),
        Err(error) => Err(store_refusal(&error)),
    }
}

/// `POST /v1/keys/{id}/revoke`: doing it again changes nothing and says so.
pub(crate) async fn revoke(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let id = key_id(&id)?;
    let wait = Wait::of(request.uri())?;
    let wish: RevokeKey = optional_body(request).await?;
    let reason = if wish.leaked { RevokedReason::Leaked } else { RevokedReason::Asked };
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let done = store::key::revoke(&primary, &id, reason, &permit.actor()).await.map_err(|error| store_refusal(&error))?;
    let change = state.changes().committed(id, done.revisions, state.now().boot);
    match wait.wait(&state, &primary, change, !done.already).await {
        Ok(receipt) => Ok(revoked(id, done, receipt)),
        // It is revoked whether somebody can be asked about it now or not.
        Err(_) => Ok(revoked(id, done, None).accepted()),
    }
}

/// A key that was revoked, now or before.
pub(crate) fn revoked(id: KeyId, revoked: Revoked, receipt: Option<Receipt>) -> Reply {
    let (revision, committed_at) = (authority_revision(revoked.revisions), instant(revoked.at));
    let is_waited_for = receipt.as_ref().is_some_and(|receipt| !receipt.is_effective);
    let view = RevokedKey { id, state: KeyState::Revoked, revision, committed_at, already_revoked: revoked.already, receipt };
    let reply = Reply::ok(&view).about(object(&id));
    if is_waited_for { reply.accepted() } else { reply }
}

/// How a key is revoked.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RevokeKey {
    /// It was seen where everybody can read it.
    pub(crate) leaked: bool,
}

/// A body that says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// An empty body will do, whatever it is called; another one has to be JSON.
pub(crate) async fn optional_body<T: DeserializeOwned + Default>(request: Request) -> Result<T, Refusal> {
    let is_json = body::expect_json(request.headers());
    let bytes = body::read(request, BODY_BYTES_MAX).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    is_json?;
    body::decode_object(&bytes)
}

pub(super) fn key_id(text: &str) -> Result<KeyId, Refusal> {
    KeyId::parse(text).ok_or_else(|| Refusal::not_found("key"))
}

pub(crate) fn object(id: &KeyId) -> String {
    format!("key:{id}")
}

/// A key after a change, and the revision that nodes have to reach to know it.
pub(crate) fn changed(written: Written<KeyInfo>) -> Reply {
    let object = object(&written.item.id);
    Reply::ok(&Changed::<Key>::from(written)).about(object)
}

/// How [`roll`] is described.
pub(crate) fn roll_doc() -> Doc {
    let doc = Doc::new("rollKey", "Gives a key another secret").about("The answer is the only one that ever holds the new secret.");
    of_key(doc).optional_body::<RollKey>().answers::<IssuedKey>(200, "It has a new secret.").leads_to(200, "endOverlap", "id", "id")
}

/// How [`end_overlap`] is described.
pub(crate) fn end_overlap_doc() -> Doc {
    plain("endOverlap", "Ends the overlap with the secret before the last roll")
}

/// How [`disable`] is described.
pub(crate) fn disable_doc() -> Doc {
    plain("disableKey", "Switches a key off for a while").leads_to(200, "enableKey", "id", "id")
}

/// How [`enable`] is described.
pub(crate) fn enable_doc() -> Doc {
    plain("enableKey", "Switches a key on again")
}

/// How [`change`] is described.
pub(crate) fn change_doc() -> Doc {
    let doc = Doc::new("changeKey", "Changes a key").about("What is absent stays; what is null goes back to what the application has (RFC 7396).");
    of_key(doc).body::<ChangeKey>().answers::<Changed<Key>>(200, "It is changed.")
}

/// How [`revoke`] is described.
pub(crate) fn revoke_doc() -> Doc {
    let doc = Doc::new("revokeKey", "Revokes a key for good").about("Doing it again changes nothing and says so.");
    of_key(doc)
        .query::<form::WaitFor>("wait", "Answer when no route that refuses on stale keys takes the key any more, on any node, with a receipt.")
        .query::<form::WaitSeconds>("timeout", "For so many seconds at most, 10 when absent: then the answer is 202, and says how far it is.")
        .optional_body::<RevokeKey>()
        .answers::<RevokedKey>(200, "It is revoked, and effective where that was waited for.")
        .answers::<RevokedKey>(202, "It is revoked, and not known to be effective in the time.")
        .leads_to(200, "getKeyPropagation", "id", "id")
}

/// What says nothing but which key.
pub(super) fn plain(id: &'static str, summary: &'static str) -> Doc {
    of_key(Doc::new(id, summary)).empty_body().answers::<Changed<Key>>(200, "It is so.")
}

pub(super) fn of_key(doc: Doc) -> Doc {
    doc.path::<form::KeyId>("id", "Its public id.").refuses(ProblemKind::ResourceConflict)
}
