//! Tenants, plans, routes, upstreams, regions, domains, issuers, certificate authorities, signers, APIs: read here, written by `POST /v1/apply` alone.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use http::Uri;
use model::{
    compile::is_name,
    document::{Document, PlanLimitDoc},
    id::{PlanId, TenantId},
    limit::Rate,
};
use serde::Serialize;
use serde_json::Value;
use store::{
    page::{Page, PageRequest},
    plan::PlanInfo,
    tenant::{ManagedBy, TenantInfo},
};
use utoipa::ToSchema;

use crate::{
    admin::{Reply, instant, page_request, page_request_by, read, unexpected},
    guard::Permit,
    openapi::{form, operation::Doc},
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// `GET /v1/tenants`: newest first.
pub(crate) async fn tenants(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    let page = only_page(&uri)?;
    let tenants = read!(state, |reader| store::tenant::list(reader, &page))?;
    Ok(Reply::page(&tenants.map(Tenant::from)))
}

/// `GET /v1/tenants/{name}`.
pub(crate) async fn tenant(State(state): State<ControlState>, _: Permit, Path(name): Path<String>) -> Result<Reply, Refusal> {
    Ok(Reply::ok(&Tenant::from(read!(state, |reader| store::tenant::get(reader, &name))?)))
}

/// `GET /v1/plans`: newest first.
pub(crate) async fn plans(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    let page = only_page(&uri)?;
    let plans = read!(state, |reader| store::plan::list(reader, &page))?;
    Ok(Reply::page(&plans.map(Plan::from)))
}

/// `GET /v1/plans/{name}`.
pub(crate) async fn plan(State(state): State<ControlState>, _: Permit, Path(name): Path<String>) -> Result<Reply, Refusal> {
    Ok(Reply::ok(&Plan::from(read!(state, |reader| store::plan::get(reader, &name))?)))
}

/// Which part of the document a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Regions,
    Domains,
    Issuers,
    CertificateAuthorities,
    Signers,
    Apis,
    Upstreams,
    Routes,
}

impl Section {
    /// Every section that is read from the document.
    pub(crate) const ALL: [Self; 8] =
        [Self::Regions, Self::Domains, Self::Issuers, Self::CertificateAuthorities, Self::Signers, Self::Apis, Self::Upstreams, Self::Routes];

    /// Its name in paths.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Regions => "regions",
            Self::Domains => "domains",
            Self::Issuers => "issuers",
            Self::CertificateAuthorities => "certificate-authorities",
            Self::Signers => "signers",
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
            Self::Signers => serde_json::to_value(&document.signers),
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

/// `GET /v1/{regions,domains,issuers,certificate-authorities,signers,apis,upstreams,routes}`: by name. An API's entry leaves its `OpenAPI` document out.
pub(crate) async fn section(section: Section, state: ControlState, uri: Uri) -> Result<Reply, Refusal> {
    let mut query = Query::of(&uri);
    let page = page_request_by(&mut query, is_name);
    query.finish()?;
    let mut entries = load(&state, section).await?;
    if section == Section::Apis {
        for entry in &mut entries {
            if let Value::Object(members) = entry {
                members.remove("openapi");
            }
        }
    }
    Ok(Reply::page(&page_of(entries, &page)))
}

/// `GET /v1/{regions,domains,apis,upstreams,routes}/{name}`.
pub(crate) async fn entry(section: Section, state: ControlState, name: String) -> Result<Reply, Refusal> {
    let entries = load(&state, section).await?;
    let found = entries.into_iter().find(|entry| name_of(entry) == name);
    found.map(|entry| Reply::ok(&entry)).ok_or_else(|| Refusal::not_found("resource"))
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

/// An owner of host names.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tenant {
    #[schema(value_type = form::TenantKey)]
    id: TenantId,
    name: String,
    hosts: Vec<String>,
    #[schema(value_type = form::Ruler)]
    managed_by: ManagedBy,
    #[schema(value_type = form::Instant)]
    created_at: String,
}

impl From<TenantInfo> for Tenant {
    fn from(tenant: TenantInfo) -> Self {
        let TenantInfo { id, name, hosts, managed_by, created_at } = tenant;
        Self { id, name, hosts: hosts.iter().map(ToString::to_string).collect(), managed_by, created_at: instant(created_at) }
    }
}

/// Limits that applications share.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Plan {
    #[schema(value_type = form::PlanKey)]
    id: PlanId,
    name: String,
    /// By name.
    limits: BTreeMap<String, PlanLimit>,
    #[schema(value_type = form::Ruler)]
    managed_by: ManagedBy,
    #[schema(value_type = form::Instant)]
    created_at: String,
}

/// A limit of a plan.
#[derive(Debug, Serialize, ToSchema)]
struct PlanLimit {
    #[schema(value_type = form::RequestRate)]
    rate: Rate,
    /// Requests that may come at once; the rate's count when null.
    #[schema(value_type = Option<form::Count>)]
    burst: Option<u32>,
}

impl From<PlanInfo> for Plan {
    fn from(plan: PlanInfo) -> Self {
        let PlanInfo { id, name, limits, managed_by, created_at } = plan;
        let limits = limits.into_iter().map(|(name, PlanLimitDoc { rate, burst })| (name, PlanLimit { rate, burst })).collect();
        Self { id, name, limits, managed_by, created_at: instant(created_at) }
    }
}

/// How [`tenants`] is described.
pub(crate) fn tenants_doc() -> Doc {
    Doc::new("listTenants", "Lists tenants, newest first").pages::<Tenant>("A page.").leads_to(200, "getTenant", "name", "items/0/name")
}

/// How [`tenant`] is described.
pub(crate) fn tenant_doc() -> Doc {
    Doc::new("getTenant", "Shows a tenant").path_text("name", "Its name.").answers::<Tenant>(200, "The tenant.")
}

/// How [`plans`] is described.
pub(crate) fn plans_doc() -> Doc {
    Doc::new("listPlans", "Lists plans, newest first").pages::<Plan>("A page.").leads_to(200, "getPlan", "name", "items/0/name")
}

/// How [`plan`] is described.
pub(crate) fn plan_doc() -> Doc {
    Doc::new("getPlan", "Shows a plan").path_text("name", "Its name.").answers::<Plan>(200, "The plan.")
}

/// How [`section`] is described.
pub(crate) fn section_doc(section: Section) -> Doc {
    let (list, show, about) = section.words();
    let page = Doc::new(list, "Lists entries of the gateway document, by name").pages_of(form::entry(about).into(), "A page.");
    page.leads_to(200, show, "name", "items/0/name")
}

/// How [`entry`] is described.
pub(crate) fn entry_doc(section: Section) -> Doc {
    let (_, show, about) = section.words();
    let entry = form::entry(about).into();
    Doc::new(show, "Shows an entry of the gateway document").path_text("name", "Its name.").answers_with(
        200,
        "The entry, as it stands in the document.",
        "application/json",
        entry,
    )
}

impl Section {
    /// What its two operations are called, and what an entry is.
    const fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Regions => ("listRegions", "getRegion", "A region."),
            Self::Domains => ("listDomains", "getDomain", "A database of fronted services: it says where writes go."),
            Self::Issuers => ("listIssuers", "getIssuer", "Who issues tokens."),
            Self::CertificateAuthorities => ("listCertificateAuthorities", "getCertificateAuthority", "Who vouches for client certificates."),
            Self::Signers => ("listSigners", "getSigner", "Who signs requests."),
            Self::Apis => ("listApis", "getApi", "An API. Lists leave its OpenAPI document out."),
            Self::Upstreams => ("listUpstreams", "getUpstream", "A fronted service."),
            Self::Routes => ("listRoutes", "getRoute", "A route."),
        }
    }
}

#[cfg(test)]
mod tests;
