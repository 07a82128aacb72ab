//! `/v1/accounts`: the people who sign in to the pages, developers and operators. They sign up or are invited; here they are approved,
//! refused, switched off and on.

use axum::extract::{Path, Request, State};
use data_encoding::BASE64URL_NOPAD;
use http::Uri;
use model::{
    id::AccountId,
    key::fingerprint_plain,
    problem::{Denial, ProblemKind},
};
use serde::{Deserialize, Serialize};
use store::{
    account::{self, AccountInfo, AccountState, Team, invitation, invitation::NewInvitation},
    actor::Actor,
    error::StoreError,
};
use utoipa::ToSchema;
use validator::{Validate, ValidationError};

use crate::{
    admin::{
        Reply, instant,
        key::life::{Nothing, optional_body},
        operator, page_request, read, store_refusal,
    },
    body::JsonBody,
    email,
    guard::Permit,
    openapi::{form, operation::Doc},
    portal,
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

pub(crate) mod recover;

/// Seconds for which an invitation can be accepted.
const INVITATION_SECONDS: i64 = 86_400;

/// `GET /v1/accounts`: newest first.
pub(crate) async fn list(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    let mut query = Query::of(&uri);
    let page = page_request(&mut query);
    let wanted = query.read("state", "must be `pending`, `active` or `disabled`", AccountState::parse);
    query.finish()?;
    let accounts = read!(state, |reader| account::list(reader, wanted, &page))?;
    Ok(Reply::page(&accounts.map(Account::from)))
}

/// `GET /v1/accounts/{id}`.
pub(crate) async fn show(State(state): State<ControlState>, _: Permit, Path(id): Path<String>) -> Result<Reply, Refusal> {
    let id = account_id(&id)?;
    Ok(Reply::ok(&Account::from(read!(state, |reader| account::get(reader, id))?)))
}

/// `POST /v1/accounts/{id}/approve`: the account gets a team of its own, and can sign in.
pub(crate) async fn approve(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let id = account_id(&id)?;
    optional_body::<Nothing>(request).await?;
    Ok(changed(approved(&state, id, &permit.actor()).await?))
}

/// Approves an account: with the first free name for its team.
pub(crate) async fn approved(state: &ControlState, id: AccountId, actor: &Actor) -> Result<AccountInfo, Refusal> {
    let tenant = portal::tenant(state).await?;
    let waiting = read!(state, |reader| account::get(reader, id))?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    for consumer in portal::team_names(state, &waiting.organization) {
        match account::approve(&primary, id, Team { tenant: &tenant, consumer: &consumer }, actor).await {
            Ok(written) => return Ok(written.item),
            Err(StoreError::Conflict { constraint, .. }) if constraint == "consumer_name_unique" => {}
            Err(error) => return Err(store_refusal(&error)),
        }
    }
    Err(Denial::new(ProblemKind::ResourceConflict, "no name for the team is free; approve it once more").into())
}

/// `POST /v1/accounts/{id}/refuse`: the request is forgotten, and the address may ask again.
pub(crate) async fn refuse(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let id = account_id(&id)?;
    optional_body::<Nothing>(request).await?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    account::refuse(&primary, id, &permit.actor()).await.map_err(|error| store_refusal(&error))?;
    Ok(Reply::ok(&Refused { id, state: "refused" }).about(object(id)))
}

/// `POST /v1/accounts/{id}/disable`: its sessions end at once, everywhere.
pub(crate) async fn disable(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let id = account_id(&id)?;
    optional_body::<Nothing>(request).await?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    Ok(changed(account::disable(&primary, id, &permit.actor()).await.map_err(|error| store_refusal(&error))?))
}

/// `POST /v1/accounts/{id}/enable`.
pub(crate) async fn enable(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let id = account_id(&id)?;
    optional_body::<Nothing>(request).await?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    Ok(changed(account::enable(&primary, id, &permit.actor()).await.map_err(|error| store_refusal(&error))?))
}

/// An invitation of an operator.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InviteOperator {
    /// Whom the account is for.
    #[validate(custom(function = mail_address))]
    #[schema(value_type = form::MailAddress)]
    email: String,
    /// `viewer`, `developer`, `approver`, `operator`, `security`, `auditor`, or `admin` for operator and auditor together.
    #[schema(value_type = form::OperatorRole)]
    role: String,
}

pub(crate) fn mail_address(text: &str) -> Result<(), ValidationError> {
    if email::is_address(text) {
        return Ok(());
    }
    Err(ValidationError::new("form").with_message("must be a mail address, like ann@example.com".into()))
}

/// `POST /v1/accounts/invite`: the only answer that ever holds this link.
pub(crate) async fn invite(State(state): State<ControlState>, permit: Permit, JsonBody(body): JsonBody<InviteOperator>) -> Result<Reply, Refusal> {
    operator::may_grant(permit.roles(), &body.role)?;
    let code = BASE64URL_NOPAD.encode(&state.random32());
    let expires_at = state.now().wall.plus_seconds(INVITATION_SECONDS);
    let address = body.email.to_lowercase();
    let new = NewInvitation { digest: &fingerprint_plain(code.as_bytes()), email: &address, team: None, role: Some(&body.role), expires_at };
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let made = invitation::create(&primary, new, &permit.actor()).await.map_err(|error| store_refusal(&error))?;
    let view = Invited { email: address, role: body.role, expires_at: instant(expires_at), link: format!("/portal/invitation#{code}") };
    Ok(Reply::created(&view, "/v1/accounts".to_owned()).about(format!("invitation:{}", made.id)))
}

fn account_id(text: &str) -> Result<AccountId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found("account"))
}

fn object(id: AccountId) -> String {
    format!("account:{id}")
}

fn changed(account: AccountInfo) -> Reply {
    let object = object(account.id);
    Reply::ok(&Account::from(account)).about(object)
}

/// A person who signs in to the pages.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Account {
    #[schema(value_type = form::AccountKey)]
    id: AccountId,
    email: String,
    name: String,
    #[schema(value_type = form::AccountStatus)]
    state: AccountState,
    /// What they may be as an operator; most are none.
    #[schema(value_type = Option<form::OperatorRole>)]
    role: Option<String>,
    /// What they called their team when they signed up.
    organization: String,
    #[schema(value_type = form::Instant)]
    created_at: String,
    /// Whether signing in with the password asks for a code, too.
    has_second_factor: bool,
}

impl From<AccountInfo> for Account {
    fn from(account: AccountInfo) -> Self {
        let AccountInfo { id, email, name, state, role, organization, created_at, has_second_factor } = account;
        Self { id, email, name, state, role, organization, created_at: instant(created_at), has_second_factor }
    }
}

/// A request for an account that is forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Refused {
    #[schema(value_type = form::AccountKey)]
    id: AccountId,
    #[schema(value_type = form::AccountEnd)]
    state: &'static str,
}

/// An invitation that was made now. No `Debug`: its link lets somebody in.
#[derive(Serialize, ToSchema)]
pub(crate) struct Invited {
    email: String,
    #[schema(value_type = form::OperatorRole)]
    role: String,
    #[schema(value_type = form::Instant)]
    expires_at: String,
    /// The page, from the name of a control listener on; shown here and never again.
    link: String,
}

/// How [`list`] is described.
pub(crate) fn list_doc() -> Doc {
    Doc::new("listAccounts", "Lists the people who sign in to the pages, newest first")
        .query::<form::AccountStatus>("state", "Only in this state.")
        .pages::<Account>("A page.")
        .leads_to(200, "getAccount", "id", "items/0/id")
        .leads_to(200, "approveAccount", "id", "items/0/id")
        .leads_to(200, "refuseAccount", "id", "items/0/id")
        .leads_to(200, "disableAccount", "id", "items/0/id")
        .leads_to(200, "enableAccount", "id", "items/0/id")
        .leads_to(200, "resetPassword", "id", "items/0/id")
        .leads_to(200, "resetSecondFactor", "id", "items/0/id")
}

/// How [`show`] is described.
pub(crate) fn show_doc() -> Doc {
    Doc::new("getAccount", "Shows an account").path::<form::AccountKey>("id", "Its id.").answers::<Account>(200, "The account.")
}

/// How [`approve`] is described.
pub(crate) fn approve_doc() -> Doc {
    act("approveAccount", "Lets somebody in who asked for an account", "Their team is made.").answers::<Account>(200, "It is active.")
}

/// How [`refuse`] is described.
pub(crate) fn refuse_doc() -> Doc {
    act("refuseAccount", "Forgets a request for an account", "The address may ask again.").answers::<Refused>(200, "It is forgotten.")
}

/// How [`disable`] is described.
pub(crate) fn disable_doc() -> Doc {
    act("disableAccount", "Switches an account off", "Its sessions end; its keys go on.").answers::<Account>(200, "It is off.")
}

/// How [`enable`] is described.
pub(crate) fn enable_doc() -> Doc {
    act("enableAccount", "Switches an account on again", "Whoever it is has to sign in.").answers::<Account>(200, "It is on.")
}

fn act(id: &'static str, summary: &'static str, about: &'static str) -> Doc {
    Doc::new(id, summary).about(about).path::<form::AccountKey>("id", "Its id.").empty_body().refuses(ProblemKind::ResourceConflict)
}

/// How [`invite`] is described.
pub(crate) fn invite_doc() -> Doc {
    Doc::new("inviteOperator", "Invites an operator to the pages")
        .about("Nobody invites one that may more than they may themselves. The link works once, and for a day.")
        .body::<InviteOperator>()
        .answers::<Invited>(201, "It is made.")
        .field(201, "location", form::text("Where accounts are listed.").into())
}
