//! Every path, with the action it stands for.

use std::any::Any;

use axum::{
    Router,
    extract::{Path, State},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, patch, post},
};
use http::Uri;
use model::problem::{Denial, ProblemKind};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    admin::{
        application, audit, cache, consumer, document, key, key::life, leak, node, operator, problem, structure, structure::Section, token, usage,
    },
    context,
    guard::{self, Gate, Permit},
    health,
    policy::Action,
    refusal::Refusal,
    state::ControlState,
};

/// The control plane as one service. The listener puts a [`crate::port::PeerAddress`] into each request's extensions.
///
/// `/livez`, `/readyz`, `/metrics` and `/v1/problems` ask for no token, `/v1/leaks` for a signature; everything else asks for an operator token.
pub fn router(state: ControlState) -> Router {
    framed(open_paths().merge(caller_paths(&state)).merge(structure_paths(&state)).merge(node_paths(&state)), state)
}

/// Puts the frame around some paths: request id, headers, problem documents, panics.
pub(crate) fn framed(paths: Router<ControlState>, state: ControlState) -> Router {
    paths
        .fallback(no_such_path)
        .layer(CatchPanicLayer::custom(caught))
        .layer(middleware::from_fn_with_state(state.clone(), context::frame))
        .with_state(state)
}

fn open_paths() -> Router<ControlState> {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/v1/problems", get(problem::list))
        .route("/v1/leaks/{reporter}", post(leak::by_reporter))
}

fn caller_paths(state: &ControlState) -> Router<ControlState> {
    let on = |action, methods| guarded(state, action, methods);
    Router::new()
        .route("/v1/keys", on(Action::KeyRead, get(key::list)).merge(on(Action::KeyCreate, post(key::create))))
        .route("/v1/keys/leaked", on(Action::KeyRevoke, post(leak::by_operator)))
        .route("/v1/keys/{id}", on(Action::KeyRead, get(key::show)).merge(on(Action::KeyChange, patch(life::change))))
        .route("/v1/keys/{id}/roll", on(Action::KeyRoll, post(life::roll)))
        .route("/v1/keys/{id}/end-overlap", on(Action::KeyRoll, post(life::end_overlap)))
        .route("/v1/keys/{id}/approve", on(Action::KeyApprove, post(life::approve)))
        .route("/v1/keys/{id}/disable", on(Action::KeyDisable, post(life::disable)))
        .route("/v1/keys/{id}/enable", on(Action::KeyEnable, post(life::enable)))
        .route("/v1/keys/{id}/revoke", on(Action::KeyRevoke, post(life::revoke)))
        .route("/v1/tokens/deny", on(Action::TokenDeny, post(token::deny)))
        .route("/v1/tokens/denied", on(Action::TokenRead, get(token::denied)))
        .route("/v1/usage", on(Action::UsageRead, get(usage::series)))
        .route("/v1/consumers", on(Action::ConsumerRead, get(consumer::list)).merge(on(Action::ConsumerCreate, post(consumer::create))))
        .route("/v1/consumers/{id}", on(Action::ConsumerRead, get(consumer::show)).merge(on(Action::ConsumerDelete, delete(consumer::remove))))
        .route(
            "/v1/applications",
            on(Action::ApplicationRead, get(application::list)).merge(on(Action::ApplicationCreate, post(application::create))),
        )
        .route(
            "/v1/applications/{id}",
            on(Action::ApplicationRead, get(application::show)).merge(on(Action::ApplicationDelete, delete(application::remove))),
        )
}

fn structure_paths(state: &ControlState) -> Router<ControlState> {
    let on = |action, methods| guarded(state, action, methods);
    let paths = Router::new()
        .route("/v1/tenants", on(Action::StructureRead, get(structure::tenants)))
        .route("/v1/tenants/{name}", on(Action::StructureRead, get(structure::tenant)))
        .route("/v1/plans", on(Action::StructureRead, get(structure::plans)))
        .route("/v1/plans/{name}", on(Action::StructureRead, get(structure::plan)))
        .route("/v1/apply", on(Action::DocumentApply, post(document::apply)))
        .route("/v1/check", on(Action::DocumentCheck, post(document::check)));
    Section::ALL.into_iter().fold(paths, |paths, section| {
        let list = get(move |State(state): State<ControlState>, _: Permit, uri: Uri| structure::section(section, state, uri));
        let entry = get(move |State(state): State<ControlState>, _: Permit, Path(name): Path<String>| structure::entry(section, state, name));
        paths
            .route(&format!("/v1/{}", section.as_str()), on(Action::StructureRead, list))
            .route(&format!("/v1/{}/{{name}}", section.as_str()), on(Action::StructureRead, entry))
    })
}

fn node_paths(state: &ControlState) -> Router<ControlState> {
    let on = |action, methods| guarded(state, action, methods);
    Router::new()
        .route("/v1/operators", on(Action::OperatorRead, get(operator::list)).merge(on(Action::OperatorCreate, post(operator::create))))
        .route("/v1/operators/{id}/revoke", on(Action::OperatorRevoke, post(operator::revoke)))
        .route("/status", on(Action::StatusRead, get(node::status)))
        .route("/v1/nodes", on(Action::NodeRead, get(node::list)))
        .route("/v1/cache/purge", on(Action::CachePurge, post(cache::purge)))
        .route("/v1/audit/events", on(Action::AuditRead, get(audit::events)))
}

/// Puts the guard before a method. Which methods a path has is no secret, so 405 comes before 401.
pub(crate) fn guarded(state: &ControlState, action: Action, methods: MethodRouter<ControlState>) -> MethodRouter<ControlState> {
    methods.route_layer(middleware::from_fn_with_state(Gate { state: state.clone(), action }, guard::guard))
}

async fn no_such_path() -> Refusal {
    Denial::new(ProblemKind::RouteNotFound, "the control plane has no such path").into()
}

/// A panic is a bug of ours: the log gets its words, the client gets a 500.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer asks for")]
fn caught(panic: Box<dyn Any + Send + 'static>) -> Response {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = words.unwrap_or("unknown"), "a handler of the control plane panicked");
    Refusal::internal().into_response()
}
