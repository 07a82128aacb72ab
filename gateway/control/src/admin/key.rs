//! `/v1/keys`: issued once, shown once, revoked for good. What happens to a key in between is in [`life`].

pub(crate) mod decide;
pub(crate) mod import;
pub(crate) mod life;
pub(crate) mod receipt;
mod view;
pub(crate) mod wish;

use axum::extract::{Path, State};
use http::{HeaderMap, Uri};
use model::{
    change::{Environment, KeyState},
    id::ApplicationId,
    key::{self, Issued, KeyId},
    problem::{Denial, ProblemKind},
    restriction::Restrictions,
    time::UtcMicros,
};
use serde::Serialize;
use store::{
    actor::Actor,
    application::{ApplicationInfo, NoDefault},
    error::StoreError,
    key::{Call, Created, KeyFilter, KeyInfo, NewKey},
    pool::Primary,
    write::Written,
};

pub(crate) use self::view::{IssuedBefore, IssuedKey, Key, RevokedKey, ShownKey};
use self::wish::CreateKey;
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
const DRAWS_MAX: u8 = 3;

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
    let order = Order {
        name: &body.name,
        application: application.id,
        environment: body.environment,
        scopes: body.scopes.as_deref(),
        plan: body.plan.as_deref(),
        restrictions: &restrictions,
        state: if body.pending { KeyState::Pending } else { KeyState::Active },
        expires_at: state.now().wall.plus_seconds(lifetime),
        call,
        at_most: None,
    };
    match order.issue(&state, &primary, &permit.actor()).await? {
        Ok(Ordered::New(written, issued)) => Ok(created(*written, &issued, "/v1/keys")),
        Ok(Ordered::Before(before)) => Ok(created_before(*before)),
        Err(StoreError::NotFound { what: "plan", .. }) => Err(Refusal::field("/plan", "unknown", "is not the name of a plan")),
        Err(error) => Err(store_refusal(&error)),
    }
}

/// What a new key is to be, once its texts are values.
#[derive(Debug)]
pub(crate) struct Order<'o> {
    pub(crate) name: &'o str,
    pub(crate) application: ApplicationId,
    pub(crate) environment: Environment,
    pub(crate) scopes: Option<&'o [String]>,
    pub(crate) plan: Option<&'o str>,
    pub(crate) restrictions: &'o Restrictions,
    pub(crate) state: KeyState,
    pub(crate) expires_at: UtcMicros,
    /// The call that may be sent again.
    pub(crate) call: Option<Call>,
    /// Keys that the application may have.
    pub(crate) at_most: Option<u32>,
}

/// What became of an order.
#[derive(Debug)]
pub(crate) enum Ordered {
    /// A key, and the only moment at which its text exists here.
    New(Box<Written<KeyInfo>>, Issued),
    /// An earlier call has made it.
    Before(Box<KeyInfo>),
}

impl Order<'_> {
    /// Draws a key and stores it. The inner error is the store's, for words that fit the caller.
    pub(crate) async fn issue(&self, state: &ControlState, primary: &Primary, actor: &Actor) -> Result<Result<Ordered, StoreError>, Refusal> {
        for _ in 0..DRAWS_MAX {
            let issued = draw(|state| key::issue(self.environment.purpose(), state.peppers(), &state.random32(), &state.random32()), state)?;
            let new = NewKey {
                issued: &issued,
                name: self.name,
                application: self.application,
                scopes: self.scopes,
                plan: self.plan,
                restrictions: self.restrictions,
                state: self.state,
                expires_at: self.expires_at,
                call: self.call,
                at_most: self.at_most,
            };
            return Ok(match store::key::create(primary, new, actor).await {
                Ok(Created::New(written)) => Ok(Ordered::New(Box::new(written), issued)),
                Ok(Created::Before(before)) => Ok(Ordered::Before(Box::new(before))),
                Err(StoreError::Conflict { constraint, .. }) if constraint == "api_key_pk" => continue,
                Err(error) => Err(error),
            });
        }
        tracing::error!("three drawn key ids were all taken: the source of randomness repeats itself");
        Err(Refusal::internal())
    }
}

/// A key that was just made, with its secret.
pub(crate) fn created(written: Written<KeyInfo>, issued: &Issued, folder: &str) -> Reply {
    let id = written.item.id;
    Reply::created(&with_secret(written, issued), format!("{folder}/{id}")).about(format!("key:{id}"))
}

/// A key that an earlier call has made.
pub(crate) fn created_before(key: KeyInfo) -> Reply {
    let object = format!("key:{}", key.id);
    Reply::ok(&IssuedBefore { key: key.into(), secret: () }).about(object).replayed()
}

/// A key with its new secret, which is shown here and never again.
pub(crate) fn with_secret(written: Written<KeyInfo>, issued: &Issued) -> impl Serialize {
    IssuedKey { key: written.item.into(), revision: authority_revision(written.revisions), secret: issued.text.expose_secret().to_owned() }
}

/// Draws until there is a credential, or the id of one.
pub(crate) fn draw<T>(issue: impl Fn(&ControlState) -> Option<T>, state: &ControlState) -> Result<T, Refusal> {
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
    shown(&state, key).await
}

/// A key, with what it is used for.
pub(crate) async fn shown(state: &ControlState, key: KeyInfo) -> Result<Reply, Refusal> {
    let last = read!(state, |reader| store::usage::last_use(reader, &key.id))?;
    let previous_requests_30s = read!(state, |reader| store::usage::old_secret_requests(reader, &key.id))?;
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
