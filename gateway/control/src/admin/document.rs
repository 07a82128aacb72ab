//! `POST /v1/check` and `POST /v1/apply`: a whole gateway document, compiled by the code that every node runs.

use std::sync::Arc;

use axum::extract::{Request, State};
use bytes::Bytes;
use model::{
    compile::{
        self, ConfigError,
        node::{self, Means, Signing},
    },
    document::Document,
    key::KeyId,
    problem::{Denial, ProblemKind},
    source::TEXT_BYTES_MAX,
};
use serde::{Serialize, de::IgnoredAny};
use store::apply::{ApplyReport, Mode, ResourceKind, ResourceName};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::{ToSchema, openapi::Required};

use crate::{
    admin::{LaneRevisions, Reply, store_refusal, unexpected},
    body::{self, DecodeError},
    guard::Permit,
    openapi::{form, operation::Doc},
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// `POST /v1/check`: compiles and writes nothing.
pub(crate) async fn check(State(state): State<ControlState>, _: Permit, request: Request) -> Result<Reply, Refusal> {
    Query::of(request.uri()).finish()?;
    let (document, _turn) = receive(&state, request).await?;
    Ok(Reply::ok(&Checked { valid: true, counts: Counts::of(&document) }))
}

/// `POST /v1/apply`: one transaction, or with `?dry_run=true` what it would change.
pub(crate) async fn apply(State(state): State<ControlState>, permit: Permit, request: Request) -> Result<Reply, Refusal> {
    let mut query = Query::of(request.uri());
    let dry_run = query.switch("dry_run");
    query.finish()?;
    let (document, _turn) = receive(&state, request).await?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let mode = if dry_run { Mode::DryRun } else { Mode::Commit };
    let report = store::apply::apply(&primary, &document, mode, &permit.actor()).await.map_err(|error| store_refusal(&error))?;
    let about = if dry_run { "document (dry run)" } else { "document" };
    Ok(Reply::ok(&Applied::new(report, dry_run)).about(about.to_owned()))
}

/// Receives, decodes and compiles a document. The turn that comes with it is held until the answer is made: documents
/// are large, and few may be in memory at once.
async fn receive(state: &ControlState, request: Request) -> Result<(Arc<Document>, OwnedSemaphorePermit), Refusal> {
    body::expect_json(request.headers())?;
    let turn = state
        .documents()
        .try_acquire_owned()
        .map_err(|_| Refusal::from(Denial::new(ProblemKind::Overloaded, "other documents are being worked on").retry_after(2)))?;
    let bytes = body::read(request, TEXT_BYTES_MAX).await?;
    // Seconds of work for a large document: not on a thread that answers others.
    let (identities, clients, signing) = (state.identities(), state.introspection_clients(), (state.key_set().signing(), state.tokens()));
    let compiled = tokio::task::spawn_blocking(move || (decode_and_compile(&bytes, &identities, &clients, signing), turn)).await;
    let (document, turn) = compiled.map_err(|error| unexpected(&error))?;
    Ok((Arc::new(document?), turn))
}

fn decode_and_compile(
    bytes: &Bytes,
    identities: &[Box<str>],
    clients: &[Box<str>],
    (principals, tokens): (Signing, Signing),
) -> Result<Document, Refusal> {
    if !body::is_object(bytes) {
        body::decode::<IgnoredAny>(bytes)?;
        return Err(Refusal::document(vec![ConfigError { path: String::new(), message: "must be an object".to_owned(), help: None }]));
    }
    let document: Document = body::decode_at(bytes).map_err(|error| match error {
        DecodeError::Syntax { line, column } => body::syntax(line, column),
        DecodeError::Member(member) => Refusal::document(vec![ConfigError { path: member.dotted(), message: member.message, help: None }]),
    })?;
    let structure = compile::compile(&document).map_err(Refusal::document)?;
    let [identities, clients]: [Vec<_>; 2] = [identities, clients].map(|names| names.iter().map(|name| &**name).collect());
    let means = Means { identities: &identities, principals, tokens, introspection_clients: &clients };
    node::check(&structure, means).map_err(Refusal::document)?;
    Ok(document)
}

/// A document that nodes could serve.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Checked {
    valid: bool,
    counts: Counts,
}

/// How many entries a document has.
#[derive(Debug, Serialize, ToSchema)]
struct Counts {
    regions: usize,
    domains: usize,
    tenants: usize,
    plans: usize,
    issuers: usize,
    certificate_authorities: usize,
    signers: usize,
    apis: usize,
    consumers: usize,
    applications: usize,
    upstreams: usize,
    routes: usize,
}

impl Counts {
    const fn of(document: &Document) -> Self {
        Self {
            regions: document.regions.len(),
            domains: document.domains.len(),
            tenants: document.tenants.len(),
            plans: document.plans.len(),
            issuers: document.issuers.len(),
            certificate_authorities: document.certificate_authorities.len(),
            signers: document.signers.len(),
            apis: document.apis.len(),
            consumers: document.consumers.len(),
            applications: document.applications.len(),
            upstreams: document.upstreams.len(),
            routes: document.routes.len(),
        }
    }
}

/// What writing a document changed, or would change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Applied {
    dry_run: bool,
    changed: bool,
    created: Vec<Resource>,
    updated: Vec<Resource>,
    /// What only the gateway file had, and has no more.
    deleted: Vec<Resource>,
    unchanged: Vec<Resource>,
    /// Keys that ended with their applications.
    #[schema(value_type = Vec<form::KeyId>)]
    keys_revoked: Vec<KeyId>,
    /// Names of consumers that no region may serve, because none has a label that they ask for: the first hundred.
    consumers_adrift: Vec<String>,
    revisions: LaneRevisions,
}

/// A resource of the gateway document.
#[derive(Debug, Serialize, ToSchema)]
struct Resource {
    #[schema(value_type = form::Kind)]
    kind: ResourceKind,
    name: String,
}

impl Applied {
    fn new(report: ApplyReport, dry_run: bool) -> Self {
        let changed = !report.is_empty();
        let ApplyReport { created, updated, deleted, unchanged, keys_revoked, consumers_adrift, revisions } = report;
        let [created, updated, deleted, unchanged] = [created, updated, deleted, unchanged].map(resources);
        Self { dry_run, changed, created, updated, deleted, unchanged, keys_revoked, consumers_adrift, revisions: revisions.into() }
    }
}

fn resources(names: Vec<ResourceName>) -> Vec<Resource> {
    names.into_iter().map(|ResourceName { kind, name }| Resource { kind, name }).collect()
}

/// How [`check`] is described.
pub(crate) fn check_doc() -> Doc {
    described("checkDocument", "Compiles a gateway document and writes nothing").answers::<Checked>(200, "Nodes could serve it.")
}

/// How [`apply`] is described.
pub(crate) fn apply_doc() -> Doc {
    described("applyDocument", "Makes what a gateway document says so")
        .about("One transaction; what the document no longer has goes. What was made through this API stays.")
        .query_as("dry_run", form::switch().into(), "Only says what would change.")
        .answers::<Applied>(200, "It is so, or would be.")
        .refuses(ProblemKind::ResourceConflict)
}

fn described(id: &'static str, summary: &'static str) -> Doc {
    let about = "A gateway document as JSON, with everything that it refers to inline; docs/configuration.md lists its members.";
    Doc::new(id, summary).body_with(form::gateway_document(about).into(), Required::True).refuses(ProblemKind::DocumentInvalid)
}
