//! `/v1/applications`: they hold keys and a plan. What belongs to the gateway file is changed there.

use axum::extract::{Path, State};
use http::Uri;
use model::{
    id::{ApplicationId, ConsumerId},
    problem::ProblemKind,
};
use serde::{Deserialize, Serialize};
use store::{
    application::{ApplicationFilter, ApplicationInfo, NewApplication},
    error::StoreError,
    pool::Reader,
    tenant::ManagedBy,
};
use utoipa::ToSchema;
use validator::Validate;

use crate::{
    admin::{
        Changed, Reply, consumer,
        consumer::{Deletion, deleted},
        instant, page_request, plain_name, read, scope_list, store_refusal,
    },
    body::JsonBody,
    guard::Permit,
    openapi::{form, operation::Doc},
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// What an application is asked for with.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateApplication {
    /// Its name, unique in the deployment.
    #[validate(custom(function = plain_name))]
    #[schema(value_type = form::Name)]
    name: String,
    /// The id or the name of its consumer.
    #[validate(length(min = 1, max = 80, message = "must be the id or the name of a consumer"))]
    #[schema(value_type = form::Reference)]
    consumer: String,
    /// The name of its plan.
    #[validate(custom(function = plain_name))]
    #[schema(value_type = Option<form::Name>)]
    plan: Option<String>,
    /// Scopes of keys that have none of their own.
    #[serde(default)]
    #[validate(custom(function = scope_list))]
    #[schema(value_type = form::Scopes)]
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
    Ok(Reply::page(&applications.map(Application::from)))
}

/// `GET /v1/applications/{id or name}`.
pub(crate) async fn show(State(state): State<ControlState>, _: Permit, Path(id): Path<String>) -> Result<Reply, Refusal> {
    Ok(Reply::ok(&Application::from(read!(state, |reader| find(reader, &id))?)))
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
    let new = NewApplication { name: &body.name, consumer: consumer.id, plan: body.plan.as_deref(), scopes: &body.scopes, at_most: None };
    let written = store::application::create(&primary, new, &permit.actor()).await.map_err(|error| {
        if matches!(error, StoreError::NotFound { what: "plan", .. }) {
            return Refusal::field("/plan", "unknown", "is not the name of a plan");
        }
        store_refusal(&error)
    })?;
    let id = written.item.id;
    Ok(Reply::created(&Changed::<Application>::from(written), format!("/v1/applications/{id}")).about(format!("application:{id}")))
}

/// `DELETE /v1/applications/{id or name}`: its keys end.
pub(crate) async fn remove(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>) -> Result<Reply, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let application = find(&primary, &id).await.map_err(|error| store_refusal(&error))?;
    let written = store::application::delete(&primary, application.id, &permit.actor()).await.map_err(|error| store_refusal(&error))?;
    Ok(Reply::ok(&deleted(application.id.to_string(), written)).about(format!("application:{}", application.id)))
}

async fn find(reader: &impl Reader, text: &str) -> Result<ApplicationInfo, StoreError> {
    match text.parse::<ApplicationId>() {
        Ok(id) => store::application::get(reader, id).await,
        Err(_) => store::application::by_name(reader, text).await,
    }
}

/// What holds keys and a plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Application {
    #[schema(value_type = form::ApplicationKey)]
    id: ApplicationId,
    name: String,
    #[schema(value_type = form::ConsumerKey)]
    consumer: ConsumerId,
    consumer_name: String,
    /// The name of its tenant.
    tenant: String,
    /// The name of its plan.
    plan: Option<String>,
    /// Scopes of keys that have none of their own.
    scopes: Vec<String>,
    #[schema(value_type = form::Ruler)]
    managed_by: ManagedBy,
    #[schema(value_type = form::Instant)]
    created_at: String,
}

impl From<ApplicationInfo> for Application {
    fn from(application: ApplicationInfo) -> Self {
        let ApplicationInfo { id, name, consumer, consumer_name, tenant, plan, scopes, managed_by, created_at } = application;
        Self { id, name, consumer, consumer_name, tenant, plan, scopes, managed_by, created_at: instant(created_at) }
    }
}

/// How [`list`] is described.
pub(crate) fn list_doc() -> Doc {
    Doc::new("listApplications", "Lists applications, newest first")
        .query_text("consumer", "Only of this consumer, by its id or its name.")
        .query_text("tenant", "Only of this tenant, by name.")
        .pages::<Application>("A page.")
        .leads_to(200, "getApplication", "id", "items/0/name")
        .refuses(ProblemKind::ResourceNotFound)
}

/// How [`show`] is described.
pub(crate) fn show_doc() -> Doc {
    Doc::new("getApplication", "Shows an application").path_text("id", "Its id or its name.").answers::<Application>(200, "The application.")
}

/// How [`create`] is described.
pub(crate) fn create_doc() -> Doc {
    Doc::new("createApplication", "Makes an application")
        .body::<CreateApplication>()
        .answers::<Changed<Application>>(201, "It is made.")
        .field(201, "location", form::text("Where it stands.").into())
        .leads_to(201, "getApplication", "id", "id")
        .leads_to(201, "deleteApplication", "id", "id")
        .refuses(ProblemKind::ResourceConflict)
}

/// How [`remove`] is described.
pub(crate) fn remove_doc() -> Doc {
    Doc::new("deleteApplication", "Removes an application")
        .about("Its keys end. What belongs to the gateway file is removed there.")
        .path_text("id", "Its id or its name.")
        .answers::<Deletion>(200, "It is gone.")
        .refuses(ProblemKind::ResourceConflict)
}
