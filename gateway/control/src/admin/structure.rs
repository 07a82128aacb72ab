//! Tenants, plans, routes, upstreams, regions, domains, issuers, certificate authorities, APIs: read here, written by `POST /v1/apply` alone.

use axum::extract::{Path, State};
use http::Uri;
use model::document::Document;
use serde_json::{Value, json};
use store::page::{Page, PageRequest};

use crate::{
    admin::{Reply, instant, page_request, read, unexpected},
    guard::Permit,
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// `GET /v1/tenants`: newest first.
pub(crate) async fn tenants(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    let page = only_page(&uri)?;
    let tenants = read!(state, |reader| store::tenant::list(reader, &page))?;
    Reply::page(&tenants.map(|tenant| tenant_view(&tenant)))
}

/// `GET /v1/tenants/{name}`.
pub(crate) async fn tenant(State(state): State<ControlState>, _: Permit, Path(name): Path<String>) -> Result<Reply, Refusal> {
    Ok(Reply::ok(tenant_view(&read!(state, |reader| store::tenant::get(reader, &name))?)))
}

/// `GET /v1/plans`: newest first.
pub(crate) async fn plans(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    let page = only_page(&uri)?;
    let plans = read!(state, |reader| store::plan::list(reader, &page))?;
    Reply::page(&plans.map(|plan| plan_view(&plan)))
}

/// `GET /v1/plans/{name}`.
pub(crate) async fn plan(State(state): State<ControlState>, _: Permit, Path(name): Path<String>) -> Result<Reply, Refusal> {
    Ok(Reply::ok(plan_view(&read!(state, |reader| store::plan::get(reader, &name))?)))
}

/// Which part of the document a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Regions,
    Domains,
    Issuers,
    CertificateAuthorities,
    Apis,
    Upstreams,
    Routes,
}

impl Section {
    /// Every section that is read from the document.
    pub(crate) const ALL: [Self; 7] =
        [Self::Regions, Self::Domains, Self::Issuers, Self::CertificateAuthorities, Self::Apis, Self::Upstreams, Self::Routes];

    /// Its name in paths.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Regions => "regions",
            Self::Domains => "domains",
            Self::Issuers => "issuers",
            Self::CertificateAuthorities => "certificate-authorities",
            Self::Apis => "apis",
            Self::Upstreams => "upstreams",
            Self::Routes => "routes",
        }
    }

    /// Its entries as they stand in the document.
    fn entries(self, document: &Document) -> Result<Vec<Value>, serde_json::Error> {
        let value = match self {
            Self::Regions => serde_json::to_value(&document.regions),
            Self::Domains => serde_json::to_value(&document.domains),
            Self::Issuers => serde_json::to_value(&document.issuers),
            Self::CertificateAuthorities => serde_json::to_value(&document.certificate_authorities),
            Self::Apis => serde_json::to_value(&document.apis),
            Self::Upstreams => serde_json::to_value(&document.upstreams),
            Self::Routes => serde_json::to_value(&document.routes),
        }?;
        match value {
            Value::Array(entries) => Ok(entries),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => Ok(Vec::new()),
        }
    }
}

/// `GET /v1/{regions,domains,issuers,certificate-authorities,apis,upstreams,routes}`: by name. An API's entry leaves its `OpenAPI` document out.
pub(crate) async fn section(section: Section, state: ControlState, uri: Uri) -> Result<Reply, Refusal> {
    let page = only_page(&uri)?;
    let mut entries = load(&state, section).await?;
    if section == Section::Apis {
        for entry in &mut entries {
            if let Value::Object(members) = entry {
                members.remove("openapi");
            }
        }
    }
    Reply::page(&page_of(entries, &page))
}

/// `GET /v1/{regions,domains,apis,upstreams,routes}/{name}`.
pub(crate) async fn entry(section: Section, state: ControlState, name: String) -> Result<Reply, Refusal> {
    let entries = load(&state, section).await?;
    let found = entries.into_iter().find(|entry| name_of(entry) == name);
    found.map(Reply::ok).ok_or_else(|| Refusal::not_found("resource"))
}

async fn load(state: &ControlState, section: Section) -> Result<Vec<Value>, Refusal> {
    let load = read!(state, |reader| store::revision::structure(reader))?;
    section.entries(&load.document).map_err(|error| unexpected(&error))
}

/// A page of entries in the order of their names; the cursor is the last name.
fn page_of(mut entries: Vec<Value>, page: &PageRequest) -> Page<Value> {
    entries.sort_by(|a, b| name_of(a).cmp(name_of(b)));
    if let Some(cursor) = &page.cursor {
        entries.retain(|entry| name_of(entry) > cursor.as_str());
    }
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let is_last = entries.len() <= limit;
    entries.truncate(limit);
    let next_cursor = entries.last().filter(|_| !is_last).map(|entry| name_of(entry).to_owned());
    Page { items: entries, next_cursor }
}

fn name_of(entry: &Value) -> &str {
    entry.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn only_page(uri: &Uri) -> Result<PageRequest, Refusal> {
    let mut query = Query::of(uri);
    let page = page_request(&mut query);
    query.finish()?;
    Ok(page)
}

fn tenant_view(tenant: &store::tenant::TenantInfo) -> Value {
    json!({
        "id": tenant.id,
        "name": tenant.name,
        "hosts": tenant.hosts,
        "managed_by": tenant.managed_by,
        "created_at": instant(tenant.created_at),
    })
}

fn plan_view(plan: &store::plan::PlanInfo) -> Value {
    json!({
        "id": plan.id,
        "name": plan.name,
        "limits": plan.limits,
        "managed_by": plan.managed_by,
        "created_at": instant(plan.created_at),
    })
}

#[cfg(test)]
mod tests;
