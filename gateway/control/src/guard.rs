//! What stands before every handler: who is it, may they, and is there a place for the record. What a handler gets is a
//! [`Permit`]; without this layer there is none, and the handler answers 500.

use std::time::Duration;

use audit::event::Outcome;
use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::request::Parts;
use model::{
    key::KeyId,
    problem::{Denial, ProblemKind},
};
use store::actor::{Actor, ActorKind};

use crate::{
    context::Context,
    operator::{self, Operator, RefusedLogin, Wanted},
    policy::{self, Action, Recording, Role},
    port::{AdminEvent, AuditUnavailable},
    refusal::Refusal,
    state::ControlState,
    trail::{self, Trail},
};

/// How long an ordinary request may take: some times what the database gives a statement.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How long a document may take: to arrive, to compile, to be written.
const DOCUMENT_DEADLINE: Duration = Duration::from_mins(2);

/// What a log-in is called in the access log.
const LOGIN: &str = "operator.login";

/// The proof that an operator was found and may do what was asked. Only [`guard`] makes it.
#[derive(Debug, Clone)]
pub(crate) struct Permit {
    operator: Operator,
}

impl Permit {
    /// The public id of the token that the operator came with.
    pub(crate) const fn token_id(&self) -> KeyId {
        self.operator.id
    }

    /// What the operator may be.
    pub(crate) fn roles(&self) -> &[Role] {
        &self.operator.roles
    }

    /// Who acts, for the store.
    pub(crate) fn actor(&self) -> Actor {
        Actor { kind: ActorKind::Operator, name: self.operator.name.clone() }
    }
}

impl FromRequestParts<ControlState> for Permit {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &ControlState) -> Result<Self, Refusal> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Refusal::internal)
    }
}

/// What a route stands for.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    /// The shared state.
    pub(crate) state: ControlState,
    /// What the route does.
    pub(crate) action: Action,
}

/// Finds the operator, asks the policy, takes the record's place, and only then lets the request through.
pub(crate) async fn guard(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let Gate { state, action } = gate;
    let Some(context) = request.extensions().get::<Context>().cloned() else { return Refusal::internal().into_response() };
    let opening = opening(&state, &context, &request, action);
    let operator = match operator::authenticate(&state, request.headers(), Wanted::Operators, context.started).await {
        Ok(operator) => operator,
        Err(refused) => return refuse_login(&state, opening, refused),
    };
    // Only operators take these places: whoever has no token cannot fill them.
    let Ok(_slot) = state.in_flight().try_acquire() else {
        return Refusal::from(Denial::new(ProblemKind::Overloaded, "too many requests are in work").retry_after(1)).into_response();
    };
    let event = AdminEvent { actor: Some(operator.name.clone()), token_id: Some(operator.id.to_string()), ..opening };
    let is_allowed = policy::any_allows(&operator.roles, action);
    // A refusal by policy is recorded whatever was asked for: it is what an auditor looks for first.
    let needs_record = !is_allowed || action.recording() == Recording::Required;
    let trail = match needs_record.then(|| Trail::reserve(&state, event)).transpose() {
        Ok(trail) => trail,
        Err(AuditUnavailable) => return Refusal::audit("nothing was done, because it could not be recorded").into_response(),
    };
    let response = if is_allowed {
        request.extensions_mut().insert(Permit { operator });
        within_deadline(action, next.run(request)).await
    } else {
        let text = format!("none of your roles allows `{}`", action.code());
        Refusal::from(Denial::new(ProblemKind::RoleInsufficient, text)).into_response()
    };
    match trail {
        Some(trail) => trail.settle(response).await,
        None => response,
    }
}

/// Does what no operator asks for, with a record like theirs: nothing is done when the log cannot take it.
pub(crate) async fn recorded<R: IntoResponse>(
    state: &ControlState,
    context: &Context,
    (action, path): (&'static str, String),
    actor: String,
    work: impl Future<Output = R>,
) -> Response {
    let event = AdminEvent { actor: Some(actor), ..trail::event(state, context, action, ("POST".to_owned(), path)) };
    let Ok(trail) = Trail::reserve(state, event) else {
        return Refusal::audit("nothing was done, because it could not be recorded").into_response();
    };
    let response = within(DEADLINE, async { work.await.into_response() }).await;
    trail.settle(response).await
}

async fn within_deadline(action: Action, work: impl Future<Output = Response>) -> Response {
    let deadline = match action {
        Action::DocumentApply | Action::DocumentCheck => DOCUMENT_DEADLINE,
        Action::StatusRead
        | Action::NodeRead
        | Action::NodeRemove
        | Action::StructureRead
        | Action::ConsumerRead
        | Action::ConsumerCreate
        | Action::ConsumerChange
        | Action::ConsumerDelete
        | Action::ApplicationRead
        | Action::ApplicationCreate
        | Action::ApplicationDelete
        | Action::KeyRead
        | Action::KeyCreate
        | Action::KeyImport
        | Action::KeyRoll
        | Action::KeyChange
        | Action::KeyApprove
        | Action::KeyRefuse
        | Action::KeyDisable
        | Action::KeyEnable
        | Action::KeyRevoke
        | Action::TokenDeny
        | Action::TokenRead
        | Action::OperatorRead
        | Action::OperatorCreate
        | Action::OperatorRevoke
        | Action::AccountRead
        | Action::AccountDecide
        | Action::AccountDisable
        | Action::AccountEnable
        | Action::AccountInvite
        | Action::AccountReset
        | Action::AccountResetFactor
        | Action::AccountLink
        | Action::NotificationRead
        | Action::NotificationRetry
        | Action::UsageRead
        | Action::CachePurge
        | Action::AuditRead => DEADLINE,
    };
    within(deadline, work).await
}

pub(crate) async fn within(deadline: Duration, work: impl Future<Output = Response>) -> Response {
    tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| {
        let text = "the work took too long; whether a change was made is not known, so look before you try again";
        Refusal::from(Denial::new(ProblemKind::DatabaseUnavailable, text).retry_after(5)).into_response()
    })
}

/// The event as far as it is known when the head of the request has arrived.
fn opening(state: &ControlState, context: &Context, request: &Request, action: Action) -> AdminEvent {
    trail::event(state, context, action.code(), (request.method().to_string(), request.uri().path().to_owned()))
}

/// Records a refused log-in without waiting for the disk: a refusal changes nothing, and must not be slowed by a flood of
/// its like.
pub(crate) fn refuse_login(state: &ControlState, opening: AdminEvent, refused: RefusedLogin) -> Response {
    let RefusedLogin { refusal, token_id } = refused;
    let is_login = refusal.kind().status() == http::StatusCode::UNAUTHORIZED;
    let now = state.now();
    if is_login
        && let Some(count) = state.refusals().admit(now.boot)
        && let Ok(place) = state.audit().reserve()
    {
        let status = Some(refusal.kind().status().as_u16());
        let reason = Some(refusal.kind().code());
        let token_id = token_id.map(|id| id.to_string());
        drop(place.record(AdminEvent { action: LOGIN, outcome: Outcome::Denied, status, reason, token_id, count, ..opening }));
    }
    (*refusal).into_response()
}
