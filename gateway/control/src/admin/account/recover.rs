//! What an operator does for somebody who has lost their password or their second factor, or is to sign in in another way.

use axum::extract::{Path, Request, State};
use data_encoding::BASE64URL_NOPAD;
use model::{
    id::AccountId,
    key::fingerprint_plain,
    problem::{Denial, ProblemKind},
};
use serde::{Deserialize, Serialize};
use store::account::{
    self, AccountInfo,
    identity::{self, Identity},
    reset as resets, second_factor,
};
use utoipa::ToSchema;
use validator::{Validate, ValidationError};

use super::{Account, account_id, act, changed, object};
use crate::{
    admin::{
        Reply, instant,
        key::life::{Nothing, optional_body},
        read, store_refusal,
    },
    body::JsonBody,
    guard::Permit,
    openapi::{form, operation::Doc},
    policy::{self, Role},
    refusal::Refusal,
    state::ControlState,
};

/// Seconds for which a link to another password can be opened.
const RESET_SECONDS: i64 = 3_600;

/// `POST /v1/accounts/{id}/reset`: the only answer that ever holds this link.
pub(crate) async fn reset(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let id = account_id(&id)?;
    optional_body::<Nothing>(request).await?;
    let known = helped(&state, permit.roles(), id).await?;
    let code = BASE64URL_NOPAD.encode(&state.random32());
    let expires_at = state.now().wall.plus_seconds(RESET_SECONDS);
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let digest = fingerprint_plain(code.as_bytes());
    let issued = resets::issue(&primary, (id, known.role.as_deref()), &digest, expires_at, &permit.actor()).await;
    let AccountInfo { email, .. } = issued.map_err(|error| store_refusal(&error))?;
    let view = ResetLink { id, email, expires_at: instant(expires_at), link: format!("/portal/reset#{code}") };
    Ok(Reply::ok(&view).about(object(id)))
}

/// `POST /v1/accounts/{id}/reset-second-factor`: its sessions end at once, everywhere.
pub(crate) async fn reset_factor(
    State(state): State<ControlState>,
    permit: Permit,
    Path(id): Path<String>,
    request: Request,
) -> Result<Reply, Refusal> {
    let id = account_id(&id)?;
    optional_body::<Nothing>(request).await?;
    let known = helped(&state, permit.roles(), id).await?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let done = second_factor::reset(&primary, (id, known.role.as_deref()), &permit.actor()).await;
    Ok(changed(done.map_err(|error| store_refusal(&error))?))
}

/// Who somebody is at the provider.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkAccount {
    /// What the provider calls them, unique and for good (`sub`).
    #[validate(length(min = 1, max = 255), custom(function = subject))]
    #[schema(min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    subject: String,
}

/// `OpenID` Connect Core 1.0 section 2: at most 255 ASCII characters.
fn subject(text: &str) -> Result<(), ValidationError> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(ValidationError::new("form").with_message("must be visible ASCII, as the provider writes it".into()))
}

/// `POST /v1/accounts/{id}/link`: from now on the provider says who it is, and what they may.
pub(crate) async fn link(
    State(state): State<ControlState>,
    permit: Permit,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<LinkAccount>,
) -> Result<Reply, Refusal> {
    let id = account_id(&id)?;
    let Some(provider) = state.provider() else {
        let text = "this node knows no provider: `control.sign_in.oidc` in its file names one";
        return Err(Denial::new(ProblemKind::ResourceConflict, text).into());
    };
    let known = helped(&state, permit.roles(), id).await?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let identity = Identity { issuer: provider.issuer(), subject: &body.subject };
    let done = identity::link(&primary, (id, known.role.as_deref()), identity, &permit.actor()).await;
    Ok(changed(done.map_err(|error| store_refusal(&error))?))
}

/// The account, if whoever helps may all that it may: a new password, or one factor less, is a way to become it.
async fn helped(state: &ControlState, helping: &[Role], id: AccountId) -> Result<AccountInfo, Refusal> {
    let account = read!(state, |reader| account::get(reader, id))?;
    let roles = account.role.as_deref().map(policy::roles).unwrap_or_default();
    let Some(action) = policy::beyond(helping, &roles) else { return Ok(account) };
    let text = format!("the account may `{}`, which none of your roles allows: ask somebody who has it", action.code());
    Err(Denial::new(ProblemKind::RoleInsufficient, text).into())
}

/// A link to another password that was made now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResetLink {
    #[schema(value_type = form::AccountKey)]
    id: AccountId,
    email: String,
    #[schema(value_type = form::Instant)]
    expires_at: String,
    /// The page, from the name of a control listener on; shown here and never again.
    link: String,
}

/// How [`reset`] is described.
pub(crate) fn reset_doc() -> Doc {
    act("resetPassword", "Makes a link by which somebody gets another password", "It works once, and for an hour. Their second factor stays.")
        .answers::<ResetLink>(200, "It is made.")
}

/// How [`reset_factor`] is described.
pub(crate) fn reset_factor_doc() -> Doc {
    act("resetSecondFactor", "Takes the second factor from somebody who has lost it", "Their sessions end. An operator has to set up another.")
        .answers::<Account>(200, "It is gone.")
}

/// How [`link`] is described.
pub(crate) fn link_doc() -> Doc {
    Doc::new("linkAccount", "Lets somebody sign in by the provider from now on")
        .about("Their password and their second factor end, and so do their sessions and tokens. What they may as an operator is what the provider says at their next sign-in.")
        .path::<form::AccountKey>("id", "Its id.")
        .body::<LinkAccount>()
        .answers::<Account>(200, "It is so.")
        .refuses(ProblemKind::ResourceConflict)
}
