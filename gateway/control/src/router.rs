//! Every path, with the action it stands for.

use std::any::Any;

use axum::{
    Router,
    extract::{Path, State},
    handler::Handler,
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, patch, post},
};
use http::Uri;
use model::problem::{Denial, ProblemKind};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::HttpMethod;

use crate::{
    admin::{
        account, account::recover, application, audit, cache, consumer, document, key, key::decide, key::life, key::receipt, leak, node,
        notification, operator, problem, structure, structure::Section, token, usage,
    },
    context,
    guard::{self, Gate, Permit},
    health, jwks,
    openapi::{
        self,
        operation::{Access, Doc},
    },
    policy::Action,
    portal, query,
    refusal::Refusal,
    state::ControlState,
};

/// The control plane as one service. The listener puts a [`crate::port::PeerAddress`] into each request's extensions.
pub fn router(state: ControlState) -> Router {
    let paths = table().into_iter().fold(Router::new(), |paths, entry| paths.route(&entry.path.clone(), entry.guarded(&state)));
    framed(paths.merge(portal::paths(&state)), state)
}

/// One method of one path.
pub(crate) struct Entry {
    /// The method; with GET goes HEAD.
    pub(crate) method: HttpMethod,
    /// The path, its parts in braces.
    pub(crate) path: String,
    /// Who may ask, and for what.
    pub(crate) access: Access,
    /// How it is described.
    pub(crate) doc: Doc,
    handler: MethodRouter<ControlState>,
}

impl Entry {
    fn get<H: Handler<T, ControlState>, T: 'static>(path: impl Into<String>, access: impl Into<Access>, handler: H, doc: Doc) -> Self {
        Self { method: HttpMethod::Get, path: path.into(), access: access.into(), doc, handler: get(handler) }
    }

    fn post<H: Handler<T, ControlState>, T: 'static>(path: impl Into<String>, access: impl Into<Access>, handler: H, doc: Doc) -> Self {
        Self { method: HttpMethod::Post, path: path.into(), access: access.into(), doc, handler: post(handler) }
    }

    fn patch<H: Handler<T, ControlState>, T: 'static>(path: impl Into<String>, access: impl Into<Access>, handler: H, doc: Doc) -> Self {
        Self { method: HttpMethod::Patch, path: path.into(), access: access.into(), doc, handler: patch(handler) }
    }

    fn delete<H: Handler<T, ControlState>, T: 'static>(path: impl Into<String>, access: impl Into<Access>, handler: H, doc: Doc) -> Self {
        Self { method: HttpMethod::Delete, path: path.into(), access: access.into(), doc, handler: delete(handler) }
    }

    /// `GET` of people's own paths.
    pub(crate) fn my_get<H: Handler<T, ControlState>, T: 'static>(path: &str, handler: H, doc: Doc) -> Self {
        Self::get(path, Access::Member(None), handler, doc)
    }

    /// `POST` of people's own paths, with the name of the act.
    pub(crate) fn my_post<H: Handler<T, ControlState>, T: 'static>(path: &str, act: &'static str, handler: H, doc: Doc) -> Self {
        Self::post(path, Access::Member(Some(act)), handler, doc)
    }

    /// `PATCH` of people's own paths, with the name of the act.
    pub(crate) fn my_patch<H: Handler<T, ControlState>, T: 'static>(path: &str, act: &'static str, handler: H, doc: Doc) -> Self {
        Self::patch(path, Access::Member(Some(act)), handler, doc)
    }

    /// `DELETE` of people's own paths, with the name of the act.
    pub(crate) fn my_delete<H: Handler<T, ControlState>, T: 'static>(path: &str, act: &'static str, handler: H, doc: Doc) -> Self {
        Self::delete(path, Access::Member(Some(act)), handler, doc)
    }

    /// Whether any parameter of the query is one too many: a misspelled one must not look as if it had counted. Scrapers add some to
    /// probes, and an unknown reporter learns nothing.
    pub(crate) fn refuses_parameters(&self) -> bool {
        let takes_any = match self.access {
            Access::Open => !self.path.starts_with("/v1/"),
            Access::Signed => true,
            Access::Operator(_) | Access::Member(_) => false,
        };
        !takes_any && !self.doc.has_query()
    }

    /// The handler with what stands before it.
    fn guarded(self, state: &ControlState) -> MethodRouter<ControlState> {
        let handler = if self.refuses_parameters() { self.handler.route_layer(middleware::from_fn(query::refuse_any)) } else { self.handler };
        match self.access {
            Access::Open | Access::Signed => handler,
            Access::Operator(action) => guarded(state, action, handler),
            Access::Member(act) => portal::my::guarded(state, act, handler),
        }
    }
}

/// Every method of every path: what the router serves, and what the `OpenAPI` document describes.
///
/// `/livez`, `/readyz`, `/metrics`, `/v1/problems`, `/v1/openapi.json` and `/.well-known/jwks.json` ask for no token, `/v1/leaks` for a
/// signature, and `/v1/my` for a person's own token; everything else asks for an operator token.
pub(crate) fn table() -> Vec<Entry> {
    let mut table = open_paths();
    table.extend(key_paths());
    table.extend(caller_paths());
    table.extend(account_paths());
    table.extend(structure_paths());
    table.extend(Section::ALL.into_iter().flat_map(section_paths));
    table.extend(node_paths());
    table.extend(portal::my::table());
    table
}

/// Puts the frame around some paths: request id, headers, problem documents, panics.
pub(crate) fn framed(paths: Router<ControlState>, state: ControlState) -> Router {
    paths
        .fallback(no_such_path)
        .layer(CatchPanicLayer::custom(caught))
        .layer(middleware::from_fn_with_state(state.clone(), context::frame))
        .with_state(state)
}

fn open_paths() -> Vec<Entry> {
    vec![
        Entry::get("/livez", Access::Open, health::live, health::live_doc()),
        Entry::get("/readyz", Access::Open, health::ready, health::ready_doc()),
        Entry::get("/metrics", Access::Open, health::metrics, health::metrics_doc()),
        Entry::get("/v1/problems", Access::Open, problem::list, problem::list_doc()),
        Entry::get("/.well-known/jwks.json", Access::Open, jwks::show, jwks::show_doc()),
        Entry::get("/v1/openapi.json", Access::Open, openapi::serve, openapi::serve_doc()),
        Entry::post("/v1/leaks/{reporter}", Access::Signed, leak::by_reporter, leak::by_reporter_doc()),
    ]
}

fn key_paths() -> Vec<Entry> {
    vec![
        Entry::get("/v1/keys", Action::KeyRead, key::list, key::list_doc()),
        Entry::post("/v1/keys", Action::KeyCreate, key::create, key::create_doc()),
        Entry::post("/v1/keys/leaked", Action::KeyRevoke, leak::by_operator, leak::by_operator_doc()),
        Entry::post("/v1/keys/import", Action::KeyImport, key::import::import, key::import::import_doc()),
        Entry::get("/v1/keys/{id}", Action::KeyRead, key::show, key::show_doc()),
        Entry::patch("/v1/keys/{id}", Action::KeyChange, life::change, life::change_doc()),
        Entry::post("/v1/keys/{id}/roll", Action::KeyRoll, life::roll, life::roll_doc()),
        Entry::post("/v1/keys/{id}/end-overlap", Action::KeyRoll, life::end_overlap, life::end_overlap_doc()),
        Entry::post("/v1/keys/{id}/approve", Action::KeyApprove, decide::approve, decide::approve_doc()),
        Entry::post("/v1/keys/{id}/refuse", Action::KeyRefuse, decide::refuse, decide::refuse_doc()),
        Entry::post("/v1/keys/{id}/disable", Action::KeyDisable, life::disable, life::disable_doc()),
        Entry::post("/v1/keys/{id}/enable", Action::KeyEnable, life::enable, life::enable_doc()),
        Entry::post("/v1/keys/{id}/revoke", Action::KeyRevoke, life::revoke, life::revoke_doc()),
        Entry::get("/v1/keys/{id}/propagation", Action::KeyRead, receipt::propagation, receipt::propagation_doc()),
        Entry::get("/v1/usage", Action::UsageRead, usage::series, usage::series_doc()),
    ]
}

fn caller_paths() -> Vec<Entry> {
    vec![
        Entry::post("/v1/tokens/deny", Action::TokenDeny, token::deny, token::deny_doc()),
        Entry::get("/v1/tokens/denied", Action::TokenRead, token::denied, token::denied_doc()),
        Entry::get("/v1/consumers", Action::ConsumerRead, consumer::list, consumer::list_doc()),
        Entry::post("/v1/consumers", Action::ConsumerCreate, consumer::create, consumer::create_doc()),
        Entry::get("/v1/consumers/{id}", Action::ConsumerRead, consumer::show, consumer::show_doc()),
        Entry::patch("/v1/consumers/{id}", Action::ConsumerChange, consumer::change, consumer::change_doc()),
        Entry::delete("/v1/consumers/{id}", Action::ConsumerDelete, consumer::remove, consumer::remove_doc()),
        Entry::get("/v1/applications", Action::ApplicationRead, application::list, application::list_doc()),
        Entry::post("/v1/applications", Action::ApplicationCreate, application::create, application::create_doc()),
        Entry::get("/v1/applications/{id}", Action::ApplicationRead, application::show, application::show_doc()),
        Entry::delete("/v1/applications/{id}", Action::ApplicationDelete, application::remove, application::remove_doc()),
    ]
}

fn account_paths() -> Vec<Entry> {
    vec![
        Entry::get("/v1/accounts", Action::AccountRead, account::list, account::list_doc()),
        Entry::post("/v1/accounts/invite", Action::AccountInvite, account::invite, account::invite_doc()),
        Entry::get("/v1/accounts/{id}", Action::AccountRead, account::show, account::show_doc()),
        Entry::post("/v1/accounts/{id}/approve", Action::AccountDecide, account::approve, account::approve_doc()),
        Entry::post("/v1/accounts/{id}/refuse", Action::AccountDecide, account::refuse, account::refuse_doc()),
        Entry::post("/v1/accounts/{id}/disable", Action::AccountDisable, account::disable, account::disable_doc()),
        Entry::post("/v1/accounts/{id}/enable", Action::AccountEnable, account::enable, account::enable_doc()),
        Entry::post("/v1/accounts/{id}/reset", Action::AccountReset, recover::reset, recover::reset_doc()),
        Entry::post("/v1/accounts/{id}/reset-second-factor", Action::AccountResetFactor, recover::reset_factor, recover::reset_factor_doc()),
        Entry::post("/v1/accounts/{id}/link", Action::AccountLink, recover::link, recover::link_doc()),
    ]
}

fn structure_paths() -> Vec<Entry> {
    vec![
        Entry::get("/v1/tenants", Action::StructureRead, structure::tenants, structure::tenants_doc()),
        Entry::get("/v1/tenants/{name}", Action::StructureRead, structure::tenant, structure::tenant_doc()),
        Entry::get("/v1/plans", Action::StructureRead, structure::plans, structure::plans_doc()),
        Entry::get("/v1/plans/{name}", Action::StructureRead, structure::plan, structure::plan_doc()),
        Entry::post("/v1/apply", Action::DocumentApply, document::apply, document::apply_doc()),
        Entry::post("/v1/check", Action::DocumentCheck, document::check, document::check_doc()),
    ]
}

fn section_paths(section: Section) -> [Entry; 2] {
    let list = move |State(state): State<ControlState>, _: Permit, uri: Uri| structure::section(section, state, uri);
    let entry = move |State(state): State<ControlState>, _: Permit, Path(name): Path<String>| structure::entry(section, state, name);
    let path = format!("/v1/{}", section.as_str());
    [
        Entry::get(path.clone() + "/{name}", Action::StructureRead, entry, structure::entry_doc(section)),
        Entry::get(path, Action::StructureRead, list, structure::section_doc(section)),
    ]
}

fn node_paths() -> Vec<Entry> {
    vec![
        Entry::get("/v1/operators", Action::OperatorRead, operator::list, operator::list_doc()),
        Entry::post("/v1/operators", Action::OperatorCreate, operator::create, operator::create_doc()),
        Entry::post("/v1/operators/{id}/revoke", Action::OperatorRevoke, operator::revoke, operator::revoke_doc()),
        Entry::get("/status", Action::StatusRead, node::status, node::status_doc()),
        Entry::get("/v1/nodes", Action::NodeRead, node::list, node::list_doc()),
        Entry::delete("/v1/nodes/{name}", Action::NodeRemove, node::remove, node::remove_doc()),
        Entry::get("/v1/notifications", Action::NotificationRead, notification::list, notification::list_doc()),
        Entry::post("/v1/notifications/{id}/retry", Action::NotificationRetry, notification::retry, notification::retry_doc()),
        Entry::post("/v1/cache/purge", Action::CachePurge, cache::purge, cache::purge_doc()),
        Entry::get("/v1/audit/events", Action::AuditRead, audit::events, audit::events_doc()),
    ]
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
