//! `/v1/operators`: tokens of the people and pipelines that run the deployment. Nobody makes one that may more than they may themselves.

use axum::extract::{Path, Request, State};
use http::Uri;
use model::{
    key::{self, KeyId, Purpose},
    problem::{Denial, ProblemKind},
};
use serde::{Deserialize, Serialize};
use store::{
    error::StoreError,
    operator::{NewOperator, OperatorInfo},
};
use utoipa::ToSchema;
use validator::Validate;

use crate::{
    admin::{
        Reply, instant,
        key::{
            draw,
            life::{Nothing, optional_body},
        },
        page_request, plain_name, read, store_refusal,
    },
    body::{JsonBody, whole},
    guard::Permit,
    openapi::{form, operation::Doc},
    operator::Wanted,
    policy::{self, Role},
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// What a token lives when nothing is said, and at most: a token that nobody remembers should end by itself.
const EXPIRES_IN_DEFAULT_SECONDS: u32 = 90 * 24 * 60 * 60;
const EXPIRES_IN_MAX_SECONDS: u32 = 400 * 24 * 60 * 60;

/// A new operator.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateOperator {
    /// Whose token it is; unique among those that are not revoked.
    #[validate(custom(function = plain_name))]
    #[schema(value_type = form::Name)]
    name: String,
    /// `viewer`, `developer`, `approver`, `operator`, `security`, `auditor`, or `admin` for operator and auditor together.
    #[schema(value_type = form::OperatorRole)]
    role: String,
    /// Seconds until it ends; 90 days when absent.
    #[validate(range(min = 60, max = EXPIRES_IN_MAX_SECONDS, message = "must be 60 to 34560000 seconds, that is 400 days"))]
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 60, maximum = 34_560_000)]
    expires_in: Option<u32>,
}

/// `POST /v1/operators`: the only answer that ever holds this token.
pub(crate) async fn create(State(state): State<ControlState>, permit: Permit, JsonBody(body): JsonBody<CreateOperator>) -> Result<Reply, Refusal> {
    may_grant(permit.roles(), &body.role)?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let issued = draw(|state| key::issue(Purpose::Operator, state.peppers(), &state.random32(), &state.random32()), &state)?;
    let expires_at = state.now().wall.plus_seconds(i64::from(body.expires_in.unwrap_or(EXPIRES_IN_DEFAULT_SECONDS)));
    let new = NewOperator { issued: &issued, name: &body.name, role: &body.role, expires_at: Some(expires_at) };
    let made = store::operator::create(&primary, new, &permit.actor()).await.map_err(|error| store_refusal(&error))?;
    let object = format!("operator:{}", made.id);
    let made = NewToken { operator: made.into(), token: issued.text.expose_secret().to_owned() };
    // There is no address to read one operator at; the list has it.
    Ok(Reply::created(&made, "/v1/operators".to_owned()).about(object))
}

/// Refuses a role that is none, or that allows what none of these does.
pub(crate) fn may_grant(granting: &[Role], name: &str) -> Result<(), Refusal> {
    let granted = policy::roles(name);
    if granted.is_empty() {
        let known = "must be `viewer`, `developer`, `approver`, `operator`, `security`, `auditor` or `admin`";
        return Err(Refusal::field("/role", "enum", known));
    }
    let Some(action) = policy::beyond(granting, &granted) else { return Ok(()) };
    let text = format!("`{name}` allows `{}`, which none of your roles does: ask somebody who has it", action.code());
    Err(Denial::new(ProblemKind::RoleInsufficient, text).into())
}

/// `GET /v1/operators`: newest first, without those that are revoked.
pub(crate) async fn list(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    let mut query = Query::of(&uri);
    let page = page_request(&mut query);
    query.finish()?;
    let operators = read!(state, |reader| store::operator::list(reader, &page))?;
    Ok(Reply::page(&operators.map(Operator::from)))
}

/// `POST /v1/operators/{id}/revoke`: here at once, on other nodes within some seconds. Doing it again changes nothing.
pub(crate) async fn revoke(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let id = KeyId::parse(&id).ok_or_else(|| Refusal::not_found("operator token"))?;
    optional_body::<Nothing>(request).await?;
    if id == permit.token_id() {
        let text = "this is the token that asks; whoever ends their own may lock everybody out, so another one has to do it";
        return Err(Denial::new(ProblemKind::ResourceConflict, text).into());
    }
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    match store::operator::revoke(&primary, &id, &permit.actor()).await {
        Ok(()) => {}
        Err(StoreError::NotFound { .. }) => return Err(Refusal::not_found("operator token")),
        Err(error) => return Err(store_refusal(&error)),
    }
    state.known_tokens(Wanted::Operators).forget(&id);
    Ok(Reply::ok(&Revoked { id, state: "revoked" }).about(format!("operator:{id}")))
}

/// An operator token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Operator {
    #[schema(value_type = form::KeyId)]
    id: KeyId,
    name: String,
    #[schema(value_type = form::OperatorRole)]
    role: String,
    /// When it ends; the first one of a deployment may have none.
    #[schema(value_type = Option<form::Instant>)]
    expires_at: Option<String>,
    #[schema(value_type = form::Instant)]
    created_at: String,
}

impl From<OperatorInfo> for Operator {
    fn from(operator: OperatorInfo) -> Self {
        let OperatorInfo { id, name, role, expires_at, created_at } = operator;
        Self { id, name, role, expires_at: expires_at.map(instant), created_at: instant(created_at) }
    }
}

/// An operator token that was made now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewToken {
    #[serde(flatten)]
    operator: Operator,
    /// Shown here and never again.
    token: String,
}

/// An operator token that is over.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Revoked {
    #[schema(value_type = form::KeyId)]
    id: KeyId,
    #[schema(value_type = form::OperatorState)]
    state: &'static str,
}

/// How [`create`] is described.
pub(crate) fn create_doc() -> Doc {
    Doc::new("createOperator", "Makes an operator token")
        .about("Nobody makes one that may more than they may themselves. The answer is the only one that ever holds the token.")
        .body::<CreateOperator>()
        .answers::<NewToken>(201, "It is made.")
        .field(201, "location", form::text("Where the list stands.").into())
        .leads_to(201, "revokeOperator", "id", "id")
        .refuses(ProblemKind::ResourceConflict)
}

/// How [`list`] is described.
pub(crate) fn list_doc() -> Doc {
    Doc::new("listOperators", "Lists operator tokens that are not revoked, newest first").pages::<Operator>("A page.")
}

/// How [`revoke`] is described.
pub(crate) fn revoke_doc() -> Doc {
    Doc::new("revokeOperator", "Ends an operator token")
        .about("The node that is asked refuses it at once, others within some seconds. Doing it again changes nothing. Nobody ends the token that they ask with.")
        .path::<form::KeyId>("id", "Its public id.")
        .empty_body()
        .answers::<Revoked>(200, "It is revoked.")
        .refuses(ProblemKind::ResourceConflict)
}
