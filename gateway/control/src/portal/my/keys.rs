//! Keys of a person's teams.

use axum::extract::{Path, Request, State};
use http::{HeaderMap, Uri};
use model::{
    change::KeyState,
    key::{self, KeyId},
    problem::{Denial, ProblemKind},
};
use store::{
    key::{KeyFilter, KeyInfo, RevokedReason, life::Roll},
    pool::Primary,
};

use super::{applications, meant_by};
use crate::{
    admin::{
        Changed, Reply,
        key::{
            IssuedBefore, IssuedKey, Key, Order, Ordered, RevokedKey, ShownKey, created, created_before, draw,
            life::{Nothing, OVERLAP_DEFAULT_SECONDS, RevokeKey, changed, object, optional_body, revoked},
            shown,
            wish::{self, CreateKey, CreateMyKey, RollKey},
            with_secret,
        },
        page_request, read, store_refusal,
    },
    body::{self, JsonBody},
    openapi::{form, operation::Doc},
    portal::{pages::keys::OF_APPLICATION_MAX, rights::Right, session::SignedIn, site},
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// A year: what a key lives when nothing is said.
const EXPIRES_IN_DEFAULT_SECONDS: u32 = 365 * 24 * 60 * 60;

/// `GET /v1/my/keys`: newest first.
pub(super) async fn list(State(state): State<ControlState>, visitor: SignedIn, uri: Uri) -> Result<Reply, Refusal> {
    let mut query = Query::of(&uri);
    let page = page_request(&mut query);
    let application = query.text("application");
    let key_state = query.read("state", "must be `pending`, `active`, `disabled` or `revoked`", KeyState::parse);
    // An application says which team is meant.
    let team = if application.is_some() {
        query.text("team").map(|text| super::named(&visitor, &text, Right::Read)).transpose()?
    } else {
        meant_by(&visitor, &mut query)?
    };
    query.finish()?;
    let application = match application {
        Some(text) => Some(applications::found(&state, &visitor, &text, Right::Read).await?.id),
        None => None,
    };
    let filter = KeyFilter { application, consumer: team.map(|team| team.consumer), state: key_state, tenant: None };
    let keys = read!(state, |reader| store::key::list(reader, &filter, &page))?;
    Ok(Reply::page(&keys.map(Key::from)))
}

/// `POST /v1/my/keys`: the only answer that ever holds this secret.
pub(super) async fn create(
    State(state): State<ControlState>,
    visitor: SignedIn,
    headers: HeaderMap,
    JsonBody(body): JsonBody<CreateMyKey>,
) -> Result<Reply, Refusal> {
    let body = CreateKey::from(body);
    let call = wish::call(&headers, &visitor.actor(), &body)?;
    let named = body.application.as_deref().unwrap_or_default();
    let application = applications::found(&state, &visitor, named, Right::Keys).await.map_err(|refusal| {
        if refusal.kind() == ProblemKind::ResourceNotFound {
            return Refusal::field("/application", "unknown", "is not the id or the name of an application of yours");
        }
        refusal
    })?;
    if body.scopes.iter().flatten().any(|scope| !application.scopes.contains(scope)) {
        return Err(Refusal::field("/scopes", "enum", "must be scopes of the application"));
    }
    let primary = primary(&state)?;
    let restrictions = body.restrictions();
    wish::known_routes(&primary, restrictions.routes.as_deref().unwrap_or_default()).await?;
    let lifetime = i64::from(body.expires_in.unwrap_or(EXPIRES_IN_DEFAULT_SECONDS));
    let order = Order {
        name: &body.name,
        application: application.id,
        environment: body.environment,
        scopes: body.scopes.as_deref(),
        plan: None,
        restrictions: &restrictions,
        state: site::first_state(&state).await?,
        expires_at: state.now().wall.plus_seconds(lifetime),
        call,
        at_most: Some(OF_APPLICATION_MAX),
    };
    match order.issue(&state, &primary, &visitor.actor()).await? {
        Ok(Ordered::New(written, issued)) => Ok(created(*written, &issued, "/v1/my/keys")),
        Ok(Ordered::Before(before)) => Ok(created_before(*before)),
        Err(error) => Err(store_refusal(&error)),
    }
}

/// `GET /v1/my/keys/{id}`.
pub(super) async fn show(State(state): State<ControlState>, visitor: SignedIn, Path(id): Path<String>) -> Result<Reply, Refusal> {
    let key = found(&state, &visitor, &id, Right::Read).await?;
    shown(&state, key).await
}

async fn found(state: &ControlState, visitor: &SignedIn, id: &str, right: Right) -> Result<KeyInfo, Refusal> {
    let id = KeyId::parse(id).ok_or_else(|| Refusal::not_found("key"))?;
    let key = read!(state, |reader| store::key::get(reader, &id))?;
    visitor.may(key.consumer, right, "key")?;
    Ok(key)
}

/// `POST /v1/my/keys/{id}/roll`: the only answer that ever holds the new secret.
pub(super) async fn roll(State(state): State<ControlState>, visitor: SignedIn, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let wish: RollKey = optional_body(request).await?;
    body::check(&wish)?;
    let key = found(&state, &visitor, &id, Right::Keys).await?;
    let issued = draw(|state| key::reissue(key.environment.purpose(), key.id, state.peppers(), &state.random32()), &state)?;
    let overlap = wish.overlap.unwrap_or(OVERLAP_DEFAULT_SECONDS);
    let now = state.now().wall;
    let overlap_until = (overlap > 0).then(|| now.plus_seconds(i64::from(overlap)));
    let roll = Roll { issued: &issued, overlap_until, while_rolling: wish.while_rolling, now };
    let rolled = store::key::life::roll(&primary(&state)?, &key.id, roll, &visitor.actor()).await.map_err(|error| store_refusal(&error))?;
    Ok(Reply::ok(&with_secret(rolled, &issued)).about(object(&key.id)))
}

/// `POST /v1/my/keys/{id}/end-overlap`.
pub(super) async fn end_overlap(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    request: Request,
) -> Result<Reply, Refusal> {
    optional_body::<Nothing>(request).await?;
    let key = found(&state, &visitor, &id, Right::Keys).await?;
    let done = store::key::life::end_overlap(&primary(&state)?, &key.id, &visitor.actor()).await;
    Ok(changed(done.map_err(|error| store_refusal(&error))?))
}

/// `POST /v1/my/keys/{id}/disable`.
pub(super) async fn disable(state: State<ControlState>, visitor: SignedIn, id: Path<String>, request: Request) -> Result<Reply, Refusal> {
    Box::pin(switch(state, visitor, id, request, (KeyState::Active, KeyState::Disabled))).await
}

/// `POST /v1/my/keys/{id}/enable`.
pub(super) async fn enable(state: State<ControlState>, visitor: SignedIn, id: Path<String>, request: Request) -> Result<Reply, Refusal> {
    Box::pin(switch(state, visitor, id, request, (KeyState::Disabled, KeyState::Active))).await
}

async fn switch(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    request: Request,
    (from, into): (KeyState, KeyState),
) -> Result<Reply, Refusal> {
    optional_body::<Nothing>(request).await?;
    let key = found(&state, &visitor, &id, Right::Keys).await?;
    if into == KeyState::Active && key.is_off_by_owner() {
        return Err(Denial::new(ProblemKind::ResourceConflict, "the API's owner has switched this key off; ask them").into());
    }
    let done = store::key::life::set_state(&primary(&state)?, &key.id, from, into, &visitor.actor()).await;
    Ok(changed(done.map_err(|error| store_refusal(&error))?))
}

/// `POST /v1/my/keys/{id}/revoke`: doing it again changes nothing and says so.
pub(super) async fn revoke(State(state): State<ControlState>, visitor: SignedIn, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let wish: RevokeKey = optional_body(request).await?;
    let key = found(&state, &visitor, &id, Right::Keys).await?;
    let reason = if wish.leaked { RevokedReason::Leaked } else { RevokedReason::Asked };
    let done = store::key::revoke(&primary(&state)?, &key.id, reason, &visitor.actor()).await;
    Ok(revoked(key.id, done.map_err(|error| store_refusal(&error))?, None))
}

fn primary(state: &ControlState) -> Result<Primary, Refusal> {
    state.primary().map_err(|error| store_refusal(&error))
}

pub(super) fn list_doc() -> Doc {
    Doc::new("listMyKeys", "Lists the keys of a team or of an application, newest first")
        .query_text("team", "The id or the name of the team; without an application required for whoever belongs to several.")
        .query_text("application", "Only of this application, by its id or its name.")
        .query::<form::KeyStatus>("state", "Only in this state.")
        .pages::<Key>("A page.")
        .leads_to(200, "getMyKey", "id", "items/0/id")
        .refuses(ProblemKind::ResourceNotFound)
        .refuses(ProblemKind::RoleInsufficient)
}

pub(super) fn create_doc() -> Doc {
    let call = form::call_key(wish::CALL_KEY_MAX);
    Doc::new("createMyKey", "Issues a key, or asks for one")
        .about("The answer is the only one that ever holds the secret. Where the API's owner wants to approve keys, its `state` is `pending`.")
        .header("idempotency-key", call.into(), "Names this call: sent again with the same body, it makes no second key.")
        .body::<CreateMyKey>()
        .answers::<IssuedKey>(201, "It is issued.")
        .field(201, "location", form::text("Where it stands.").into())
        .answers::<IssuedBefore>(200, "An earlier call with this Idempotency-Key has issued it.")
        .field(200, "idempotency-replayed", form::word(["true"]).into())
        .leads_to(201, "getMyKey", "id", "id")
        .leads_to(201, "rollMyKey", "id", "id")
        .leads_to(201, "disableMyKey", "id", "id")
        .leads_to(201, "revokeMyKey", "id", "id")
        .refuses(ProblemKind::ResourceConflict)
}

pub(super) fn show_doc() -> Doc {
    Doc::new("getMyKey", "Shows a key, and when it was used last").path::<form::KeyId>("id", "Its public id.").answers::<ShownKey>(200, "The key.")
}

pub(super) fn roll_doc() -> Doc {
    let doc = Doc::new("rollMyKey", "Gives a key another secret").about("The answer is the only one that ever holds the new secret.");
    of_key(doc).optional_body::<RollKey>().answers::<IssuedKey>(200, "It has a new secret.").leads_to(200, "endMyOverlap", "id", "id")
}

pub(super) fn end_overlap_doc() -> Doc {
    plain("endMyOverlap", "Ends the overlap with the secret before the last roll")
}

pub(super) fn disable_doc() -> Doc {
    plain("disableMyKey", "Switches a key off for a while").leads_to(200, "enableMyKey", "id", "id")
}

pub(super) fn enable_doc() -> Doc {
    plain("enableMyKey", "Switches a key on again").about("One that the API's owner has switched off stays off.")
}

pub(super) fn revoke_doc() -> Doc {
    let doc = Doc::new("revokeMyKey", "Revokes a key for good").about("Doing it again changes nothing and says so.");
    of_key(doc).optional_body::<RevokeKey>().answers::<RevokedKey>(200, "It is revoked.").leads_to(200, "getMyKey", "id", "id")
}

fn plain(id: &'static str, summary: &'static str) -> Doc {
    of_key(Doc::new(id, summary)).empty_body().answers::<Changed<Key>>(200, "It is so.")
}

fn of_key(doc: Doc) -> Doc {
    doc.path::<form::KeyId>("id", "Its public id.").refuses(ProblemKind::ResourceConflict)
}
