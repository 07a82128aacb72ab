//! `/v1/consumers`: the organizations and persons that call, and where their data may lie. What belongs to the gateway file is changed there.

use axum::extract::{Path, Request, State};
use http::Uri;
use model::{id::ConsumerId, key::KeyId, problem::ProblemKind, residency, source};
use serde::{Deserialize, Serialize};
use store::{
    consumer::{ConsumerInfo, Deleted, NewConsumer},
    error::StoreError,
    key::life::Patch,
    pool::{Primary, Reader},
    tenant::ManagedBy,
    write::Written,
};
use utoipa::ToSchema;
use validator::{Validate, ValidationError};

use crate::{
    admin::{AuthorityRevision, Changed, Reply, authority_revision, instant, page_request, plain_name, read, store_refusal},
    body::{self, BODY_BYTES_MAX, JsonBody},
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
    /// Labels of regions: its requests go to regions alone that have one of these; to any when absent.
    #[validate(custom(function = label_list))]
    #[schema(value_type = Option<form::Labels>)]
    residency: Option<Vec<String>>,
}

/// What of a consumer is changed (RFC 7396): what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeConsumer {
    /// Labels of regions: its requests go to regions alone that have one of these; to any when null.
    #[serde(default)]
    #[schema(value_type = Option<form::Labels>)]
    residency: Patch<Vec<String>>,
}

/// For validator: labels that somebody may ask for.
fn label_list(labels: &[String]) -> Result<(), ValidationError> {
    residency::check(labels).map_err(|mistake| ValidationError::new("labels").with_message(mistake.into()))
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
    let labels = body.residency.as_deref();
    let new = NewConsumer { name: &body.name, tenant: body.tenant.as_deref(), residency: labels };
    let written = match store::consumer::create(&primary, new, &permit.actor()).await {
        Ok(written) => written,
        Err(StoreError::NotFound { what: "tenant", .. }) => return Err(Refusal::field("/tenant", "unknown", "is not the name of a tenant")),
        Err(StoreError::Invalid { .. }) if body.tenant.is_none() => {
            return Err(Refusal::field("/tenant", "required", "is required, because there is not exactly one tenant"));
        }
        Err(error) => return Err(refusal(&primary, error, labels.unwrap_or_default()).await),
    };
    let id = written.item.id;
    Ok(Reply::created(&Changed::<Consumer>::from(written), format!("/v1/consumers/{id}")).about(format!("consumer:{id}")))
}

/// `PATCH /v1/consumers/{id or name}` (RFC 7396).
pub(crate) async fn change(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    body::expect_json(request.headers())?;
    let ChangeConsumer { residency } = body::decode_object(&body::read(request, BODY_BYTES_MAX).await?)?;
    if let Patch::Set(labels) = &residency {
        residency::check(labels).map_err(|mistake| Refusal::field("/residency", "labels", mistake))?;
    }
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let consumer = find(&primary, &id).await.map_err(|error| store_refusal(&error))?;
    match store::consumer::change(&primary, consumer.id, residency.clone(), &permit.actor()).await {
        Ok(written) => Ok(Reply::ok(&Changed::<Consumer>::from(written)).about(format!("consumer:{}", consumer.id))),
        Err(error) => Err(refusal(&primary, error, &residency.apply(None).unwrap_or_default()).await),
    }
}

/// Says which labels there are, when one that is asked for is none of them: with a misspelled one nothing would be served.
async fn refusal(primary: &Primary, error: StoreError, asked: &[String]) -> Refusal {
    let StoreError::NotFound { what: "label", name } = &error else { return store_refusal(&error) };
    let known = match store::consumer::labels(primary).await {
        Ok(known) => known,
        Err(error) => return store_refusal(&error),
    };
    let at = asked.iter().position(|label| label == name).unwrap_or_default();
    let near = source::nearest(name, known.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let known = match &*known {
        [] => "no region has a label: write `regions[].residency` in the gateway file, and apply it".to_owned(),
        known => format!("regions have: {}", known.join(", ")),
    };
    Refusal::field(format!("/residency/{at}"), "unknown", format!("is not a label of a region; {near}{known}"))
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
    /// Labels of regions: its requests go to regions alone that have one of these; to any when null.
    residency: Option<Vec<String>>,
    #[schema(value_type = form::Ruler)]
    managed_by: ManagedBy,
    #[schema(value_type = form::Instant)]
    created_at: String,
}

impl From<ConsumerInfo> for Consumer {
    fn from(consumer: ConsumerInfo) -> Self {
        let ConsumerInfo { id, name, tenant, residency, managed_by, created_at } = consumer;
        Self { id, name, tenant, residency, managed_by, created_at: instant(created_at) }
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
        .leads_to(201, "changeConsumer", "id", "id")
        .leads_to(201, "deleteConsumer", "id", "id")
        .refuses(ProblemKind::ResourceConflict)
}

/// How [`change`] is described.
pub(crate) fn change_doc() -> Doc {
    Doc::new("changeConsumer", "Changes where the data of a consumer may lie")
        .about("A JSON merge patch (RFC 7396). Nodes go by it within a second; streams from regions that may not serve it any more end. What belongs to the gateway file is changed there.")
        .path_text("id", "Its id or its name.")
        .body::<ChangeConsumer>()
        .answers::<Changed<Consumer>>(200, "It is so.")
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
