//! `/v1/keys`: issued once, shown once, revoked for good. What happens to a key in between is in [`life`].

pub(crate) mod life;
mod view;
pub(crate) mod wish;

use axum::extract::{Path, State};
use http::{HeaderMap, Uri};
use model::{
    change::KeyState,
    id::ApplicationId,
    key::{self, Issued, KeyId},
    problem::{Denial, ProblemKind},
};
use serde::Serialize;
use store::{
    application::{ApplicationInfo, NoDefault},
    error::StoreError,
    key::{Created, KeyFilter, KeyInfo, NewKey},
    pool::Primary,
    write::Written,
};

use self::{
    view::{IssuedBefore, IssuedKey, Key, ShownKey},
    wish::CreateKey,
};
use crate::{
    admin::{Reply, authority_revision, page_request, read, store_refusal},
    body::JsonBody,
    guard::Permit,
    openapi::{form, operation::Doc},
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// A year: what a key lives when nothing is said.
const EXPIRES_IN_DEFAULT_SECONDS: u32 = 365 * 24 * 60 * 60;

/// How often a new key is drawn: an id that is taken is one in 10^21.
pub(crate) const DRAWS_MAX: u8 = 3;

/// `POST /v1/keys`: the only answer that ever holds this secret. With an `Idempotency-Key`, the same call again is answered with
/// the key that it made, and `"secret": null`.
pub(crate) async fn create(
    State(state): State<ControlState>,
    permit: Permit,
    headers: HeaderMap,
    JsonBody(body): JsonBody<CreateKey>,
) -> Result<Reply, Refusal> {
    let call = wish::call(&headers, &permit.actor(), &body)?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let application = application(&primary, body.application.as_deref()).await?;
    let restrictions = body.restrictions();
    wish::known_routes(&primary, restrictions.routes.as_deref().unwrap_or_default()).await?;
    let lifetime = i64::from(body.expires_in.unwrap_or(EXPIRES_IN_DEFAULT_SECONDS));
    let expires_at = state.now().wall.plus_seconds(lifetime);
    for _ in 0..DRAWS_MAX {
        let issued = draw(|state| key::issue(body.environment.purpose(), state.peppers(), &state.random32(), &state.random32()), &state)?;
        let new = NewKey {
            issued: &issued,
            name: &body.name,
            application: application.id,
            scopes: body.scopes.as_deref(),
            plan: body.plan.as_deref(),
            restrictions: &restrictions,
            state: if body.pending { KeyState::Pending } else { KeyState::Active },
            expires_at,
            call,
            at_most: None,
        };
        match store::key::create(&primary, new, &permit.actor()).await {
            Ok(Created::New(written)) => return Ok(created(written, &issued)),
            Ok(Created::Before(before)) => return Ok(created_before(before)),
            Err(StoreError::Conflict { constraint, .. }) if constraint == "api_key_pk" => {}
            Err(StoreError::NotFound { what: "plan", .. }) => return Err(Refusal::field("/plan", "unknown", "is not the name of a plan")),
            Err(error) => return Err(store_refusal(&error)),
        }
    }
    tracing::error!("three drawn key ids were all taken: the source of randomness repeats itself");
    Err(Refusal::internal())
}

fn created(written: Written<KeyInfo>, issued: &Issued) -> Reply {
    let id = written.item.id;
    Reply::created(&with_secret(written, issued), format!("/v1/keys/{id}")).about(format!("key:{id}"))
}

fn created_before(key: KeyInfo) -> Reply {
    let object = format!("key:{}", key.id);
    Reply::ok(&IssuedBefore { key: key.into(), secret: () }).about(object).replayed()
}

/// A key with its new secret, which is shown here and never again.
fn with_secret(written: Written<KeyInfo>, issued: &Issued) -> impl Serialize {
    IssuedKey { key: written.item.into(), revision: authority_revision(written.revisions), secret: issued.text.expose_secret().to_owned() }
}

/// Draws until there is a credential.
pub(crate) fn draw(issue: impl Fn(&ControlState) -> Option<Issued>, state: &ControlState) -> Result<Issued, Refusal> {
    // One draw of 32 bytes holds twelve usable ones in nearly every case.
    (0..16).find_map(|_| issue(state)).ok_or_else(|| {
        tracing::error!("no key could be drawn: the source of randomness fails");
        Refusal::internal()
    })
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
    let key_state = query.read("state", "must be `pending`, `active`, `disabled` or `revoked`", KeyState::parse);
    let tenant = query.text("tenant");
    query.finish()?;
    let application = match application {
        None => None,
        Some(text) => match text.parse::<ApplicationId>() {
            Ok(id) => Some(id),
            Err(_) => Some(read!(state, |reader| store::application::by_name(reader, &text))?.id),
        },
    };
    let filter = KeyFilter { application, consumer: None, state: key_state, tenant };
    let keys = read!(state, |reader| store::key::list(reader, &filter, &page))?;
    Ok(Reply::page(&keys.map(Key::from)))
}

/// `GET /v1/keys/{id}`.
pub(crate) async fn show(State(state): State<ControlState>, _: Permit, Path(id): Path<String>) -> Result<Reply, Refusal> {
    let id = KeyId::parse(&id).ok_or_else(|| Refusal::not_found("key"))?;
    let key = read!(state, |reader| store::key::get(reader, &id))?;
    let last = read!(state, |reader| store::usage::last_use(reader, &id))?;
    let previous_requests_30s = read!(state, |reader| store::usage::old_secret_requests(reader, &id))?;
    Ok(Reply::ok(&ShownKey { key: key.into(), last_used: last.map(Into::into), previous_requests_30s }))
}

/// How [`list`] is described.
pub(crate) fn list_doc() -> Doc {
    Doc::new("listKeys", "Lists keys, newest first")
        .query_text("application", "Only of this application, by its id or its name.")
        .query::<form::KeyStatus>("state", "Only in this state.")
        .query_text("tenant", "Only of this tenant, by name.")
        .pages::<Key>("A page.")
        .leads_to(200, "getKey", "id", "items/0/id")
        .refuses(ProblemKind::ResourceNotFound)
}

/// How [`create`] is described.
pub(crate) fn create_doc() -> Doc {
    let call = form::call_key(wish::CALL_KEY_MAX);
    Doc::new("createKey", "Issues a key")
        .about("The answer is the only one that ever holds the secret.")
        .header("idempotency-key", call.into(), "Names this call: sent again with the same body, it makes no second key.")
        .body::<CreateKey>()
        .answers::<IssuedKey>(201, "It is issued.")
        .field(201, "location", form::text("Where it stands.").into())
        .answers::<IssuedBefore>(200, "An earlier call with this Idempotency-Key has issued it.")
        .field(200, "idempotency-replayed", form::word(["true"]).into())
        .leads_to(201, "getKey", "id", "id")
        .leads_to(201, "changeKey", "id", "id")
        .leads_to(201, "rollKey", "id", "id")
        .leads_to(201, "disableKey", "id", "id")
        .leads_to(201, "revokeKey", "id", "id")
        .refuses(ProblemKind::ResourceConflict)
}

/// How [`show`] is described.
pub(crate) fn show_doc() -> Doc {
    Doc::new("getKey", "Shows a key, and when it was used last").path::<form::KeyId>("id", "Its public id.").answers::<ShownKey>(200, "The key.")
}
