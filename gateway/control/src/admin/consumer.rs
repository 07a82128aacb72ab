//! `/v1/consumers`: the organizations and persons that call. What belongs to the gateway file is changed there.

use axum::extract::{Path, State};
use http::Uri;
use model::{id::ConsumerId, key::KeyId, problem::ProblemKind};
use serde::{Deserialize, Serialize};
use store::{
    consumer::{ConsumerInfo, Deleted, NewConsumer},
    error::StoreError,
    pool::Reader,
    tenant::ManagedBy,
    write::Written,
};
use utoipa::ToSchema;
use validator::Validate;

use crate::{
    admin::{AuthorityRevision, Changed, Reply, authority_revision, instant, page_request, plain_name, read, store_refusal},
    body::JsonBody,
    guard::Permit,
    openapi::{form, operation::Doc},
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// What a consumer is asked for with.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateConsumer {
    /// Its name, unique in the deployment.
    #[validate(custom(function = plain_name))]
    #[schema(value_type = form::Name)]
    name: String,
    /// The name of its tenant; the only one when absent.
    #[validate(custom(function = plain_name))]
    #[schema(value_type = Option<form::Name>)]
    tenant: Option<String>,
}

/// `GET /v1/consumers`: newest first.
pub(crate) async fn list(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    let mut query = Query::of(&uri);
    let page = page_request(&mut query);
    let tenant = query.text("tenant");
    query.finish()?;
    let consumers = read!(state, |reader| store::consumer::list(reader, tenant.as_deref(), &page))?;
    Ok(Reply::page(&consumers.map(Consumer::from)))
}

/// `GET /v1/consumers/{id or name}`.
pub(crate) async fn show(State(state): State<ControlState>, _: Permit, Path(id): Path<String>) -> Result<Reply, Refusal> {
    Ok(Reply::ok(&Consumer::from(read!(state, |reader| find(reader, &id))?)))
}

/// `POST /v1/consumers`.
pub(crate) async fn create(State(state): State<ControlState>, permit: Permit, JsonBody(body): JsonBody<CreateConsumer>) -> Result<Reply, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let new = NewConsumer { name: &body.name, tenant: body.tenant.as_deref() };
    let written = store::consumer::create(&primary, new, &permit.actor()).await.map_err(|error| {
        if matches!(error, StoreError::NotFound { what: "tenant", .. }) {
            return Refusal::field("/tenant", "unknown", "is not the name of a tenant");
        }
        if body.tenant.is_none() && matches!(error, StoreError::Invalid { .. }) {
            return Refusal::field("/tenant", "required", "is required, because there is not exactly one tenant");
        }
        store_refusal(&error)
    })?;
    let id = written.item.id;
    Ok(Reply::created(&Changed::<Consumer>::from(written), format!("/v1/consumers/{id}")).about(format!("consumer:{id}")))
}

/// `DELETE /v1/consumers/{id or name}`: its applications go with it, and their keys end.
pub(crate) async fn remove(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>) -> Result<Reply, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let consumer = find(&primary, &id).await.map_err(|error| store_refusal(&error))?;
    let written = store::consumer::delete(&primary, consumer.id, &permit.actor()).await.map_err(|error| store_refusal(&error))?;
    Ok(Reply::ok(&deleted(consumer.id.to_string(), written)).about(format!("consumer:{}", consumer.id)))
}

/// Finds a consumer by its id or its name.
pub(crate) async fn find(reader: &impl Reader, text: &str) -> Result<ConsumerInfo, StoreError> {
    match text.parse::<ConsumerId>() {
        Ok(id) => store::consumer::get(reader, id).await,
        Err(_) => store::consumer::by_name(reader, text).await,
    }
}

/// What a deletion took with it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deletion {
    id: String,
    deleted: bool,
    /// Names of applications that went with it.
    applications: Vec<String>,
    /// Keys that ended.
    #[schema(value_type = Vec<form::KeyId>)]
    keys_revoked: Vec<KeyId>,
    revision: AuthorityRevision,
}

/// What a deletion took with it.
pub(crate) fn deleted(id: String, written: Written<Deleted>) -> Deletion {
    let Deleted { applications, keys_revoked } = written.item;
    Deletion { id, deleted: true, applications, keys_revoked, revision: authority_revision(written.revisions) }
}

/// Who calls: an organization or a person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Consumer {
    #[schema(value_type = form::ConsumerKey)]
    id: ConsumerId,
    name: String,
    /// The name of its tenant.
    tenant: String,
    #[schema(value_type = form::Ruler)]
    managed_by: ManagedBy,
    #[schema(value_type = form::Instant)]
    created_at: String,
}

impl From<ConsumerInfo> for Consumer {
    fn from(consumer: ConsumerInfo) -> Self {
        let ConsumerInfo { id, name, tenant, managed_by, created_at } = consumer;
        Self { id, name, tenant, managed_by, created_at: instant(created_at) }
    }
}

/// How [`list`] is described.
pub(crate) fn list_doc() -> Doc {
    Doc::new("listConsumers", "Lists consumers, newest first")
        .query_text("tenant", "Only of this tenant, by name.")
        .pages::<Consumer>("A page.")
        .leads_to(200, "getConsumer", "id", "items/0/name")
}

/// How [`show`] is described.
pub(crate) fn show_doc() -> Doc {
    Doc::new("getConsumer", "Shows a consumer").path_text("id", "Its id or its name.").answers::<Consumer>(200, "The consumer.")
}

/// How [`create`] is described.
pub(crate) fn create_doc() -> Doc {
    Doc::new("createConsumer", "Makes a consumer")
        .body::<CreateConsumer>()
        .answers::<Changed<Consumer>>(201, "It is made.")
        .field(201, "location", form::text("Where it stands.").into())
        .leads_to(201, "getConsumer", "id", "id")
        .leads_to(201, "deleteConsumer", "id", "id")
        .refuses(ProblemKind::ResourceConflict)
}

/// How [`remove`] is described.
pub(crate) fn remove_doc() -> Doc {
    Doc::new("deleteConsumer", "Removes a consumer")
        .about("Its applications go with it, and their keys end. What belongs to the gateway file is removed there.")
        .path_text("id", "Its id or its name.")
        .answers::<Deletion>(200, "It is gone.")
        .refuses(ProblemKind::ResourceConflict)
}
