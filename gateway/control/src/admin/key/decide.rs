//! Keys that wait for approval: let in, or refused with a reason.

use axum::extract::{Path, Request, State};
use model::{
    key::KeyId,
    problem::{Denial, ProblemKind},
};
use serde::Deserialize;
use store::{
    actor::Actor,
    error::StoreError,
    key::{
        KeyInfo,
        decide::{self, Decision, REASON_CHARS_MAX},
    },
    pool::Primary,
    write::Written,
};
use utoipa::ToSchema;
use validator::Validate;

use super::{
    life::{Nothing, changed, key_id, of_key, optional_body, plain},
    view::Key,
};
use crate::{
    admin::{Changed, Reply, instant, printable, store_refusal},
    body::JsonBody,
    guard::Permit,
    openapi::{form, operation::Doc},
    refusal::Refusal,
    state::ControlState,
};

// The attribute below takes a number alone.
const _: () = assert!(REASON_CHARS_MAX == 300, "the reason's rule is out of step");

/// Why a key is refused.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefuseKey {
    /// What its team is told.
    #[validate(length(min = 1, max = 300, message = "must have 1 to 300 characters"), custom(function = printable))]
    #[schema(value_type = form::Why)]
    reason: String,
}

/// `POST /v1/keys/{id}/approve`: doing it again changes nothing.
pub(crate) async fn approve(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let id = key_id(&id)?;
    optional_body::<Nothing>(request).await?;
    Ok(changed(Box::pin(approved(&state, &id, &permit.actor())).await?))
}

/// `POST /v1/keys/{id}/refuse`: doing it again changes nothing, and the first reason stays.
pub(crate) async fn refuse(
    State(state): State<ControlState>,
    permit: Permit,
    Path(id): Path<String>,
    JsonBody(wish): JsonBody<RefuseKey>,
) -> Result<Reply, Refusal> {
    let id = key_id(&id)?;
    Ok(changed(Box::pin(refused(&state, &id, wish.reason.trim(), &permit.actor())).await?))
}

/// Lets a key be used.
pub(crate) async fn approved(state: &ControlState, id: &KeyId, actor: &Actor) -> Result<Written<KeyInfo>, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    match decide::approve(&primary, id, actor).await {
        Ok(written) => Ok(written),
        Err(error) => Err(undecided(&primary, id, &error).await),
    }
}

/// Refuses a key.
pub(crate) async fn refused(state: &ControlState, id: &KeyId, reason: &str, actor: &Actor) -> Result<Written<KeyInfo>, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    match decide::refuse(&primary, id, reason, actor).await {
        Ok(written) => Ok(written),
        Err(error) => Err(undecided(&primary, id, &error).await),
    }
}

/// What was in the way of a decision: one's own team is a matter of who asks, all else of what has happened. Whoever comes second is told by
/// whom it was decided, and how.
async fn undecided(primary: &Primary, id: &KeyId, error: &StoreError) -> Refusal {
    let refusal = store_refusal(error);
    let StoreError::Conflict { constraint, .. } = error else { return refusal };
    if constraint == "key_own_team" {
        return Denial::new(ProblemKind::RoleInsufficient, refusal.detail()).into();
    }
    let decided = store::key::get(primary, id).await.ok().and_then(|key| key.decision);
    match decided.filter(|_| constraint != "key_state") {
        Some(decided) => {
            let Decision { verdict, reason, at, by } = *decided;
            let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            Denial::new(ProblemKind::ResourceConflict, format!("the key was {} at {} by {by}{why}", verdict.as_str(), instant(at))).into()
        }
        None => refusal,
    }
}

/// How [`approve`] is described.
pub(crate) fn approve_doc() -> Doc {
    plain("approveKey", "Lets a key be used that waits for approval").about("Doing it again changes nothing.")
}

/// How [`refuse`] is described.
pub(crate) fn refuse_doc() -> Doc {
    let doc = Doc::new("refuseKey", "Refuses a key that waits for approval, for good")
        .about("The key is revoked, and its team is told the reason. Doing it again changes nothing, and the first reason stays.");
    of_key(doc).body::<RefuseKey>().answers::<Changed<Key>>(200, "It is refused.").leads_to(200, "getKey", "id", "id")
}
