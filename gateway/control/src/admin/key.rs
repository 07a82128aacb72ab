//! `/v1/keys`: issued once, shown once, revoked for good.

use axum::extract::{Path, Request, State};
use http::Uri;
use model::{
    change::KeyState,
    id::ApplicationId,
    key::{self, Issued, KeyId, Purpose},
    problem::{Denial, ProblemKind},
};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{
    application::{ApplicationInfo, NoDefault},
    error::StoreError,
    key::{KeyFilter, KeyInfo, NewKey},
    pool::Primary,
    write::Written,
};
use validator::Validate;

use crate::{
    admin::{Reply, authority_revision, instant, page_request, printable, read, scope_list, store_refusal},
    body::{self, BODY_BYTES_MAX, JsonBody},
    guard::Permit,
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// A year: what a key lives when nothing is said.
const EXPIRES_IN_DEFAULT_SECONDS: u32 = 365 * 24 * 60 * 60;

/// How often a new key is drawn: an id that is taken is one in 10^21.
const DRAWS_MAX: u8 = 3;

/// What a key is asked for with.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateKey {
    /// What its owner calls it.
    #[validate(length(min = 1, max = 80, message = "must have 1 to 80 characters"), custom(function = printable))]
    name: String,
    /// The id or the name of the application; the default one when absent.
    #[validate(length(min = 1, max = 80, message = "must be the id or the name of an application"))]
    application: Option<String>,
    /// Its own scopes: the application's when absent, none when empty.
    #[validate(custom(function = scope_list))]
    scopes: Option<Vec<String>>,
    /// Seconds until it ends.
    #[validate(range(min = 60, max = 315_360_000, message = "must be 60 (a minute) to 315360000 (ten years) seconds"))]
    expires_in: Option<u32>,
    /// For which traffic.
    #[serde(default)]
    environment: Environment,
}

/// For which traffic a key is.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Environment {
    #[default]
    Live,
    Test,
}

impl From<Environment> for Purpose {
    fn from(environment: Environment) -> Self {
        match environment {
            Environment::Live => Self::Live,
            Environment::Test => Self::Test,
        }
    }
}

/// `POST /v1/keys`: the only answer that ever holds the secret.
pub(crate) async fn create(State(state): State<ControlState>, permit: Permit, JsonBody(body): JsonBody<CreateKey>) -> Result<Reply, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let application = application(&primary, body.application.as_deref()).await?;
    let lifetime = i64::from(body.expires_in.unwrap_or(EXPIRES_IN_DEFAULT_SECONDS));
    let expires_at = state.now().wall.plus_seconds(lifetime);
    for _ in 0..DRAWS_MAX {
        let issued = draw(&state, body.environment.into())?;
        let new = NewKey { issued: &issued, name: &body.name, application: application.id, scopes: body.scopes.as_deref(), expires_at };
        match store::key::create(&primary, new, &permit.actor()).await {
            Ok(written) => return Ok(created(&written, &issued)),
            Err(StoreError::Conflict { constraint, .. }) if constraint == "api_key_pk" => {}
            Err(error) => return Err(store_refusal(&error)),
        }
    }
    tracing::error!("three drawn key ids were all taken: the source of randomness repeats itself");
    Err(Refusal::internal())
}

fn created(written: &Written<KeyInfo>, issued: &Issued) -> Reply {
    let id = written.item.id;
    let mut body = view(&written.item);
    if let Value::Object(members) = &mut body {
        members.insert("secret".to_owned(), Value::from(issued.text.expose_secret()));
        members.insert("revision".to_owned(), authority_revision(written.revisions));
    }
    Reply::created(body, format!("/v1/keys/{id}")).about(format!("key:{id}"))
}

fn draw(state: &ControlState, purpose: Purpose) -> Result<Issued, Refusal> {
    // One draw of 32 bytes holds twelve usable ones in nearly every case.
    for _ in 0..16 {
        if let Some(issued) = key::issue(purpose, state.peppers(), &state.random32(), &state.random32()) {
            return Ok(issued);
        }
    }
    tracing::error!("no key could be drawn: the source of randomness fails");
    Err(Refusal::internal())
}

/// The application that a new key belongs to.
async fn application(primary: &Primary, named: Option<&str>) -> Result<ApplicationInfo, Refusal> {
    let found = match named {
        Some(text) => match text.parse::<ApplicationId>() {
            Ok(id) => store::application::get(primary, id).await,
            Err(_) => store::application::by_name(primary, text).await,
        },
        None => return default_application(primary).await,
    };
    found.map_err(|error| {
        if matches!(error, StoreError::NotFound { .. }) {
            return Refusal::field("/application", "unknown", "is not the id or the name of an application");
        }
        store_refusal(&error)
    })
}

async fn default_application(primary: &Primary) -> Result<ApplicationInfo, Refusal> {
    store::application::default_application(primary).await.map_err(|error| match error {
        NoDefault::NoApplication => {
            Denial::new(ProblemKind::ResourceConflict, "there is no application yet: make one first, or apply a gateway file that has one").into()
        }
        NoDefault::Ambiguous { names } => Refusal::field(
            "/application",
            "required",
            format!("is required, because there are several applications and none is named `default`: {}", names.join(", ")),
        ),
        NoDefault::Store(error) => store_refusal(&error),
    })
}

/// `GET /v1/keys`: newest first.
pub(crate) async fn list(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    let mut query = Query::of(&uri);
    let page = page_request(&mut query);
    let application = query.text("application");
    let key_state = query.read("state", "must be `active`, `disabled` or `revoked`", KeyState::parse);
    let tenant = query.text("tenant");
    query.finish()?;
    let application = match application {
        None => None,
        Some(text) => match text.parse::<ApplicationId>() {
            Ok(id) => Some(id),
            Err(_) => Some(read!(state, |reader| store::application::by_name(reader, &text))?.id),
        },
    };
    let filter = KeyFilter { application, state: key_state, tenant };
    let keys = read!(state, |reader| store::key::list(reader, &filter, &page))?;
    Reply::page(&keys.map(|key| view(&key)))
}

/// `GET /v1/keys/{id}`.
pub(crate) async fn show(State(state): State<ControlState>, _: Permit, Path(id): Path<String>) -> Result<Reply, Refusal> {
    let id = KeyId::parse(&id).ok_or_else(|| Refusal::not_found("key"))?;
    Ok(Reply::ok(view(&read!(state, |reader| store::key::get(reader, &id))?)))
}

/// A revocation says nothing more yet; an empty body will do.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeKey {}

/// `POST /v1/keys/{id}/revoke`: doing it again changes nothing and says so.
pub(crate) async fn revoke(State(state): State<ControlState>, permit: Permit, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let id = KeyId::parse(&id).ok_or_else(|| Refusal::not_found("key"))?;
    let mut query = Query::of(request.uri());
    if query.text("wait").is_some() {
        let text = "is not available yet: nodes apply a revocation within a second, but do not confirm it";
        query.refuse("wait", "unsupported", text);
    }
    query.finish()?;
    let bytes = body::read(request, BODY_BYTES_MAX).await?;
    if !bytes.is_empty() {
        body::decode::<RevokeKey>(&bytes)?;
    }
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let revoked = store::key::revoke(&primary, &id, &permit.actor()).await.map_err(|error| store_refusal(&error))?;
    let body = json!({
        "id": id,
        "state": KeyState::Revoked,
        "revision": authority_revision(revoked.revisions),
        "committed_at": instant(revoked.at),
        "already_revoked": revoked.already,
    });
    Ok(Reply::ok(body).about(format!("key:{id}")))
}

/// A key as clients see it: nothing that authenticates.
fn view(key: &KeyInfo) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "application": key.application,
        "application_name": key.application_name,
        "consumer": key.consumer,
        "consumer_name": key.consumer_name,
        "tenant": key.tenant,
        "environment": if key.prefix == Purpose::Test.prefix() { "test" } else { "live" },
        "prefix": key.prefix,
        "last_four": key.last_four,
        "scopes": key.scopes,
        "state": key.state,
        "expires_at": instant(key.expires_at),
        "created_at": instant(key.created_at),
        "created_by": key.created_by,
        "revoked_at": key.revoked_at.map(instant),
        "revoked_by": key.revoked_by,
    })
}
