//! `POST /v1/check` and `POST /v1/apply`: a whole gateway document, compiled by the code that every node runs.

use std::sync::Arc;

use axum::extract::{Request, State};
use bytes::Bytes;
use model::{
    change::Revisions,
    compile::{self, ConfigError},
    document::Document,
    problem::{Denial, ProblemKind},
    source::TEXT_BYTES_MAX,
};
use serde_json::{Value, json};
use store::apply::{ApplyReport, Mode};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    admin::{Reply, store_refusal, unexpected},
    body::{self, DecodeError},
    guard::Permit,
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// `POST /v1/check`: compiles and writes nothing.
pub(crate) async fn check(State(state): State<ControlState>, _: Permit, request: Request) -> Result<Reply, Refusal> {
    Query::of(request.uri()).finish()?;
    let (document, _turn) = receive(&state, request).await?;
    Ok(Reply::ok(json!({ "valid": true, "counts": counts(&document) })))
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
    Ok(Reply::ok(view(&report, dry_run)).about(about.to_owned()))
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
    let identities = state.identities();
    let compiled = tokio::task::spawn_blocking(move || (decode_and_compile(&bytes, &identities), turn)).await;
    let (document, turn) = compiled.map_err(|error| unexpected(&error))?;
    Ok((Arc::new(document?), turn))
}

fn decode_and_compile(bytes: &Bytes, identities: &[Box<str>]) -> Result<Document, Refusal> {
    let document: Document = body::decode_at(bytes).map_err(|error| match error {
        DecodeError::Syntax { line, column } => body::syntax(line, column),
        DecodeError::Member(member) => Refusal::document(vec![ConfigError { path: member.dotted(), message: member.message, help: None }]),
    })?;
    let structure = compile::compile(&document).map_err(Refusal::document)?;
    compile::identities(&structure, &identities.iter().map(|name| &**name).collect::<Vec<_>>()).map_err(Refusal::document)?;
    Ok(document)
}

fn counts(document: &Document) -> Value {
    json!({
        "regions": document.regions.len(),
        "domains": document.domains.len(),
        "tenants": document.tenants.len(),
        "plans": document.plans.len(),
        "issuers": document.issuers.len(),
        "certificate_authorities": document.certificate_authorities.len(),
        "apis": document.apis.len(),
        "consumers": document.consumers.len(),
        "applications": document.applications.len(),
        "upstreams": document.upstreams.len(),
        "routes": document.routes.len(),
    })
}

fn view(report: &ApplyReport, dry_run: bool) -> Value {
    let Revisions { epoch, authority, structural } = report.revisions;
    json!({
        "dry_run": dry_run,
        "changed": !report.is_empty(),
        "created": report.created,
        "updated": report.updated,
        "deleted": report.deleted,
        "unchanged": report.unchanged,
        "keys_revoked": report.keys_revoked,
        "revisions": { "epoch": epoch, "authority": authority, "structural": structural },
    })
}
