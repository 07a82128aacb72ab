//! `/v1/operators`: tokens of the people and pipelines that run the deployment. Nobody makes one that may more than they may themselves.

use axum::extract::{Path, State};
use http::Uri;
use model::{
    key::{self, KeyId, Purpose},
    problem::{Denial, ProblemKind},
};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{
    error::StoreError,
    operator::{NewOperator, OperatorInfo},
};
use validator::Validate;

use crate::{
    admin::{Reply, instant, key::draw, page_request, plain_name, read, store_refusal},
    body::JsonBody,
    guard::Permit,
    policy,
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// What a token lives when nothing is said, and at most: a token that nobody remembers should end by itself.
const EXPIRES_IN_DEFAULT_SECONDS: u32 = 90 * 24 * 60 * 60;
const EXPIRES_IN_MAX_SECONDS: u32 = 400 * 24 * 60 * 60;

/// A new operator.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateOperator {
    /// Whose token it is; unique among those that are not revoked.
    #[validate(custom(function = plain_name))]
    name: String,
    /// `viewer`, `developer`, `approver`, `operator`, `security`, `auditor`, or `admin` for operator and auditor together.
    role: String,
    /// Seconds until it ends; 90 days when absent.
    #[validate(range(min = 60, max = EXPIRES_IN_MAX_SECONDS, message = "must be 60 to 34560000 seconds, that is 400 days"))]
    expires_in: Option<u32>,
}

/// `POST /v1/operators`: the only answer that ever holds this token.
pub(crate) async fn create(State(state): State<ControlState>, permit: Permit, JsonBody(body): JsonBody<CreateOperator>) -> Result<Reply, Refusal> {
    let roles = policy::roles(&body.role);
    if roles.is_empty() {
        let known = "must be `viewer`, `developer`, `approver`, `operator`, `security`, `auditor` or `admin`";
        return Err(Refusal::field("/role", "enum", known));
    }
    if let Some(action) = policy::beyond(permit.roles(), &roles) {
        let text = format!("`{}` allows `{}`, which none of your roles does: ask somebody who has it", body.role, action.code());
        return Err(Denial::new(ProblemKind::RoleInsufficient, text).into());
    }
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let issued = draw(|state| key::issue(Purpose::Operator, state.peppers(), &state.random32(), &state.random32()), &state)?;
    let expires_at = state.now().wall.plus_seconds(i64::from(body.expires_in.unwrap_or(EXPIRES_IN_DEFAULT_SECONDS)));
    let new = NewOperator { issued: &issued, name: &body.name, role: &body.role, expires_at: Some(expires_at) };
    let made = store::operator::create(&primary, new, &permit.actor()).await.map_err(|error| store_refusal(&error))?;
    let mut view = view(&made);
    if let Value::Object(members) = &mut view {
        members.insert("token".to_owned(), Value::from(issued.text.expose_secret()));
    }
    // There is no address to read one operator at; the list has it.
    Ok(Reply::created(view, "/v1/operators".to_owned()).about(format!("operator:{}", made.id)))
}

/// `GET /v1/operators`: newest first, without those that are revoked.
pub(crate) async fn list(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    let mut query = Query::of(&uri);
    let page = page_request(&mut query);
    query.finish()?;
    let operators = read!(state, |reader| store::operator::list(reader, &page))?;
    Reply::page(&operators.map(|operator| view(&operator)))
}

/// `POST /v1/operators/{id}/revoke`: here at once, on other nodes within some seconds. Doing it again changes nothing.
pub(crate) async fn revoke(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>) -> Result<Reply, Refusal> {
    let id = KeyId::parse(&id).ok_or_else(|| Refusal::not_found("operator token"))?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    match store::operator::revoke(&primary, &id, &permit.actor()).await {
        Ok(()) => {}
        Err(StoreError::NotFound { .. }) => return Err(Refusal::not_found("operator token")),
        Err(error) => return Err(store_refusal(&error)),
    }
    state.operators().forget(&id);
    Ok(Reply::ok(json!({ "id": id, "state": "revoked" })).about(format!("operator:{id}")))
}

fn view(operator: &OperatorInfo) -> Value {
    json!({
        "id": operator.id,
        "name": operator.name,
        "role": operator.role,
        "expires_at": operator.expires_at.map(instant),
        "created_at": instant(operator.created_at),
    })
}
