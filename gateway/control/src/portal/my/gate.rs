//! What stands before each path of `/v1/my`: whose token is it, are they still let in, is there a place for the record.

use axum::{
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use model::{
    id::AccountId,
    problem::{Denial, ProblemKind},
};
use store::account::{self, AccountState, session::Proof};

use crate::{
    admin::read,
    context::Context,
    guard,
    operator::{self, Wanted},
    policy::Action,
    port::{AdminEvent, AuditUnavailable},
    portal::session::SignedIn,
    refusal::Refusal,
    state::ControlState,
    trail::{self, Trail},
};

/// What a path stands for.
#[derive(Debug, Clone)]
struct Gate {
    state: ControlState,
    act: Option<&'static str>,
}

/// Puts the gate before a method.
pub(crate) fn guarded(state: &ControlState, act: Option<&'static str>, methods: MethodRouter<ControlState>) -> MethodRouter<ControlState> {
    methods.route_layer(middleware::from_fn_with_state(Gate { state: state.clone(), act }, gate))
}

async fn gate(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let Gate { state, act } = gate;
    let Some(context) = request.extensions().get::<Context>().cloned() else { return Refusal::internal().into_response() };
    // A refused token is recorded under the name of the act, as an operator's is.
    let name = act.unwrap_or(Action::AccountRead.code());
    let opening = trail::event(&state, &context, name, (request.method().to_string(), request.uri().path().to_owned()));
    let token = match operator::authenticate(&state, request.headers(), Wanted::Personal, context.started).await {
        Ok(token) => token,
        Err(refused) => return guard::refuse_login(&state, opening, refused),
    };
    // Programs have places of their own, and each person's so many requests: pages are there for people.
    if let Some(account) = token.account
        && let Err(refusal) = state.portal().throttle.program(account.uuid(), context.started.boot)
    {
        return refusal.into_response();
    }
    let Ok(_place) = state.portal().programs.try_acquire() else {
        return Refusal::from(Denial::new(ProblemKind::Overloaded, "too many requests are in work").retry_after(1)).into_response();
    };
    let visitor = match owner(&state, token.account).await {
        Ok(visitor) => visitor,
        Err(refusal) => return refusal.into_response(),
    };
    let event = AdminEvent { actor: Some(visitor.actor().to_string()), token_id: Some(token.id.to_string()), ..opening };
    let trail = match act.map(|_| Trail::reserve(&state, event)).transpose() {
        Ok(trail) => trail,
        Err(AuditUnavailable) => return Refusal::audit("nothing was done, because it could not be recorded").into_response(),
    };
    request.extensions_mut().insert(visitor);
    let response = guard::within(guard::DEADLINE, next.run(request)).await;
    match trail {
        Some(trail) => trail.settle(response).await,
        None => response,
    }
}

/// The token's owner with their teams as they are now. What they may as an operator is not theirs here.
async fn owner(state: &ControlState, account: Option<AccountId>) -> Result<SignedIn, Refusal> {
    let id = account.ok_or_else(Refusal::internal)?;
    let account = read!(state, |reader| account::get(reader, id))?;
    if account.state != AccountState::Active {
        return Err(Denial::new(ProblemKind::CredentialsInvalid, "the account of this token is not active").into());
    }
    let teams = read!(state, |reader| account::team::of_account(reader, id))?;
    // No session, so nothing of it: these paths look at teams alone.
    Ok(SignedIn { digest: [0; 32], account, teams, roles: Vec::new(), proof: Proof::Password, must_enroll: false })
}
