//! `/v1/applications`: they hold keys and a plan. What belongs to the gateway file is changed there.

use axum::extract::{Path, State};
use http::Uri;
use model::id::ApplicationId;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{
    application::{ApplicationFilter, ApplicationInfo, NewApplication},
    error::StoreError,
    pool::Reader,
};
use validator::Validate;

use crate::{
    admin::{
        Reply, consumer,
        consumer::{deleted, with_revision},
        instant, page_request, plain_name, read, scope_list, store_refusal,
    },
    body::JsonBody,
    guard::Permit,
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// What an application is asked for with.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateApplication {
    /// Its name, unique in the deployment.
    #[validate(custom(function = plain_name))]
    name: String,
    /// The id or the name of its consumer.
    #[validate(length(min = 1, max = 80, message = "must be the id or the name of a consumer"))]
    consumer: String,
    /// The name of its plan.
    #[validate(custom(function = plain_name))]
    plan: Option<String>,
    /// Scopes of keys that have none of their own.
    #[serde(default)]
    #[validate(custom(function = scope_list))]
    scopes: Vec<String>,
}

/// `GET /v1/applications`: newest first.
pub(crate) async fn list(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    let mut query = Query::of(&uri);
    let page = page_request(&mut query);
    let consumer = query.text("consumer");
    let tenant = query.text("tenant");
    query.finish()?;
    let consumer = match consumer {
        Some(text) => Some(read!(state, |reader| consumer::find(reader, &text))?.id),
        None => None,
    };
    let filter = ApplicationFilter { consumer, tenant };
    let applications = read!(state, |reader| store::application::list(reader, &filter, &page))?;
    Reply::page(&applications.map(|application| view(&application)))
}

/// `GET /v1/applications/{id or name}`.
pub(crate) async fn show(State(state): State<ControlState>, _: Permit, Path(id): Path<String>) -> Result<Reply, Refusal> {
    Ok(Reply::ok(view(&read!(state, |reader| find(reader, &id))?)))
}

/// `POST /v1/applications`.
pub(crate) async fn create(State(state): State<ControlState>, permit: Permit, JsonBody(body): JsonBody<CreateApplication>) -> Result<Reply, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let consumer = consumer::find(&primary, &body.consumer).await.map_err(|error| {
        if matches!(error, StoreError::NotFound { .. }) {
            return Refusal::field("/consumer", "unknown", "is not the id or the name of a consumer");
        }
        store_refusal(&error)
    })?;
    let new = NewApplication { name: &body.name, consumer: consumer.id, plan: body.plan.as_deref(), scopes: &body.scopes };
    let written = store::application::create(&primary, new, &permit.actor()).await.map_err(|error| {
        if matches!(error, StoreError::NotFound { what: "plan", .. }) {
            return Refusal::field("/plan", "unknown", "is not the name of a plan");
        }
        store_refusal(&error)
    })?;
    let id = written.item.id;
    let body = with_revision(view(&written.item), &written);
    Ok(Reply::created(body, format!("/v1/applications/{id}")).about(format!("application:{id}")))
}

/// `DELETE /v1/applications/{id or name}`: its keys end.
pub(crate) async fn remove(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>) -> Result<Reply, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let application = find(&primary, &id).await.map_err(|error| store_refusal(&error))?;
    let written = store::application::delete(&primary, application.id, &permit.actor()).await.map_err(|error| store_refusal(&error))?;
    Ok(Reply::ok(deleted(&json!(application.id), &written)).about(format!("application:{}", application.id)))
}

async fn find(reader: &impl Reader, text: &str) -> Result<ApplicationInfo, StoreError> {
    match text.parse::<ApplicationId>() {
        Ok(id) => store::application::get(reader, id).await,
        Err(_) => store::application::by_name(reader, text).await,
    }
}

fn view(application: &ApplicationInfo) -> Value {
    json!({
        "id": application.id,
        "name": application.name,
        "consumer": application.consumer,
        "consumer_name": application.consumer_name,
        "tenant": application.tenant,
        "plan": application.plan,
        "scopes": application.scopes,
        "managed_by": application.managed_by,
        "created_at": instant(application.created_at),
    })
}
