//! `/v1/consumers`: the organizations and persons that call. What belongs to the gateway file is changed there.

use axum::extract::{Path, State};
use http::Uri;
use model::id::ConsumerId;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{
    consumer::{ConsumerInfo, Deleted, NewConsumer},
    error::StoreError,
    pool::Reader,
    write::Written,
};
use validator::Validate;

use crate::{
    admin::{Reply, authority_revision, instant, page_request, plain_name, read, store_refusal},
    body::JsonBody,
    guard::Permit,
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// What a consumer is asked for with.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateConsumer {
    /// Its name, unique in the deployment.
    #[validate(custom(function = plain_name))]
    name: String,
    /// The name of its tenant; the only one when absent.
    #[validate(custom(function = plain_name))]
    tenant: Option<String>,
}

/// `GET /v1/consumers`: newest first.
pub(crate) async fn list(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    let mut query = Query::of(&uri);
    let page = page_request(&mut query);
    let tenant = query.text("tenant");
    query.finish()?;
    let consumers = read!(state, |reader| store::consumer::list(reader, tenant.as_deref(), &page))?;
    Reply::page(&consumers.map(|consumer| view(&consumer)))
}

/// `GET /v1/consumers/{id or name}`.
pub(crate) async fn show(State(state): State<ControlState>, _: Permit, Path(id): Path<String>) -> Result<Reply, Refusal> {
    Ok(Reply::ok(view(&read!(state, |reader| find(reader, &id))?)))
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
    Ok(Reply::created(with_revision(view(&written.item), &written), format!("/v1/consumers/{id}")).about(format!("consumer:{id}")))
}

/// `DELETE /v1/consumers/{id or name}`: its applications go with it, and their keys end.
pub(crate) async fn remove(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>) -> Result<Reply, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let consumer = find(&primary, &id).await.map_err(|error| store_refusal(&error))?;
    let written = store::consumer::delete(&primary, consumer.id, &permit.actor()).await.map_err(|error| store_refusal(&error))?;
    Ok(Reply::ok(deleted(&json!(consumer.id), &written)).about(format!("consumer:{}", consumer.id)))
}

/// Finds a consumer by its id or its name.
pub(crate) async fn find(reader: &impl Reader, text: &str) -> Result<ConsumerInfo, StoreError> {
    match text.parse::<ConsumerId>() {
        Ok(id) => store::consumer::get(reader, id).await,
        Err(_) => store::consumer::by_name(reader, text).await,
    }
}

/// What a deletion took with it.
pub(crate) fn deleted(id: &Value, written: &Written<Deleted>) -> Value {
    json!({
        "id": id,
        "deleted": true,
        "applications": written.item.applications,
        "keys_revoked": written.item.keys_revoked,
        "revision": authority_revision(written.revisions),
    })
}

/// Adds the revision of a write to a view.
pub(crate) fn with_revision<T>(mut view: Value, written: &Written<T>) -> Value {
    if let Value::Object(members) = &mut view {
        members.insert("revision".to_owned(), authority_revision(written.revisions));
    }
    view
}

fn view(consumer: &ConsumerInfo) -> Value {
    json!({
        "id": consumer.id,
        "name": consumer.name,
        "tenant": consumer.tenant,
        "managed_by": consumer.managed_by,
        "created_at": instant(consumer.created_at),
    })
}
