//! Keys: issued and shown once, rolled with an overlap, switched off and on, revoked.

mod wish;

use std::time::Duration;

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use model::{
    change::{Environment, KeyState, Revisions},
    id::ApplicationId,
    key::{self, Issued, KeyId},
    restriction::Restrictions,
    secret::SecretText,
    time::UtcMicros,
};
use store::{
    application::ApplicationInfo,
    error::StoreError,
    key::{
        KeyInfo, RevokedReason,
        life::{Roll, WhileRolling},
    },
    node::NodeInfo,
    write::Written,
};

pub(super) use self::wish::KeyWish;
use super::{
    application,
    applications::{self, shown_text, status, used},
    is_conflict, primary, short, to,
    try_it::curl_with,
};
use crate::{
    admin::{
        key::{Order, Ordered, draw},
        read, store_refusal,
    },
    portal::{
        catalogue::Operation,
        fields::{Fields, Wrong},
        rights::{self, Right},
        session::{SignedIn, minute},
        site::{self, Site},
        view::{self, Frame},
    },
    refusal::Refusal,
    state::ControlState,
    trail::Object,
};

/// Keys of one application that are not revoked.
pub(in crate::portal) const OF_APPLICATION_MAX: u32 = 50;
const DAY_SECONDS: i64 = 86_400;
/// Overlaps that a form offers, in hours.
const OVERLAPS: [(&str, i64); 5] = [("none: the old secret ends at once", 0), ("1 hour", 1), ("24 hours", 24), ("7 days", 168), ("30 days", 720)];

/// How long a page waits for its own node, and how often it looks.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);
const KNOWN_POLL: Duration = Duration::from_millis(10);

/// The one page that ever shows a secret.
#[derive(Debug, Template)]
#[template(path = "portal/secret.html")]
struct ShownOnce<'s> {
    frame: Frame,
    key: KeyFacts,
    application: (String, String),
    secret: SecretText,
    was_rolled: bool,
    /// An operation to begin with, and the command that calls it.
    first: Option<(&'s str, &'s Operation, SecretText)>,
}

/// What is known about a key.
#[derive(Debug)]
struct KeyFacts {
    id: String,
    name: String,
    text: String,
    status: &'static str,
    environment: &'static str,
    scopes: String,
    plan: Option<String>,
    addresses: String,
    certificates: Option<String>,
    waits: bool,
    /// Why it was refused.
    refused: Option<String>,
    created: String,
    expires: String,
    rolled: Option<String>,
    revoked: Option<String>,
}

impl KeyFacts {
    fn of(key: &KeyInfo, now: UtcMicros) -> Self {
        let list = |items: &[String]| if items.is_empty() { "none".to_owned() } else { items.join(" ") };
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            text: shown_text(key),
            status: status(key, now),
            environment: key.environment.as_str(),
            scopes: key.scopes.as_ref().map_or_else(|| "all of the application".to_owned(), |scopes| list(scopes)),
            plan: key.plan.clone(),
            addresses: key
                .restrictions
                .addresses
                .as_ref()
                .map_or_else(|| "everywhere".to_owned(), |ranges| list(&ranges.iter().map(ToString::to_string).collect::<Vec<_>>())),
            certificates: key.restrictions.certificates.as_ref().map(|bound| list(&bound.iter().map(ToString::to_string).collect::<Vec<_>>())),
            waits: key.state == KeyState::Pending,
            refused: key.decision.as_ref().and_then(|decision| decision.reason.clone()),
            created: minute(key.created_at),
            expires: minute(key.expires_at),
            rolled: key.rolled_at.map(minute),
            revoked: key.revoked_at.map(minute),
        }
    }
}

pub(in crate::portal) async fn create(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let application = application(&state, &visitor, &id, Right::Keys).await?;
    let wish = KeyWish::read(&mut fields, &application);
    let mut wrong = fields.finish()?;
    if wrong.is_empty() {
        let site = site::site(&state).await?;
        match Box::pin(issued(&state, &visitor, application.id, &wish, site.first_state())).await? {
            Ok(Ordered::New(written, issued)) => return shown_once(&state, &site, &visitor, &application, &written, &issued, false).await,
            // The secret was shown then, and by nobody's doing now.
            Ok(Ordered::Before(key)) => return Ok(to(&format!("/portal/keys/{}?done=key-made-before", key.id), format!("key:{}", key.id))),
            Err(mistake) => wrong = mistake,
        }
    }
    view::form(&wrong.clone(), &Box::pin(applications::shown(&state, &visitor, &application, false, wish, wrong)).await?)
}

async fn issued(
    state: &ControlState,
    visitor: &SignedIn,
    application: ApplicationId,
    wish: &KeyWish,
    first: KeyState,
) -> Result<Result<Ordered, Wrong>, Refusal> {
    let (addresses, certificates) = match (wish.networks(), wish.thumbprints()) {
        (Ok(addresses), Ok(certificates)) => (addresses, certificates),
        (Err(wrong), _) | (_, Err(wrong)) => return Ok(Err(wrong)),
    };
    let restrictions = Restrictions { addresses, certificates, ..Restrictions::default() };
    let order = Order {
        name: &wish.name,
        application,
        environment: if wish.is_test { Environment::Test } else { Environment::Live },
        scopes: wish.scopes.as_deref(),
        plan: None,
        restrictions: &restrictions,
        state: first,
        expires_at: state.now().wall.plus_seconds(wish.days * DAY_SECONDS),
        call: wish.call(application, visitor.account.id),
        at_most: Some(OF_APPLICATION_MAX),
    };
    match order.issue(state, &primary(state)?, &visitor.actor()).await? {
        Ok(ordered) => Ok(Ok(ordered)),
        Err(error) if is_conflict(&error, "key_count") => Ok(Err(Wrong::one("name", "an application has at most 50 keys; revoke one first"))),
        Err(error) => Err(store_refusal(&error)),
    }
}

async fn shown_once(
    state: &ControlState,
    site: &Site,
    visitor: &SignedIn,
    application: &ApplicationInfo,
    written: &Written<KeyInfo>,
    issued: &Issued,
    was_rolled: bool,
) -> Result<Response, Refusal> {
    let key = &written.item;
    known_here(state, written.revisions).await;
    let may = |scope: &String| key.scopes.as_ref().unwrap_or(&application.scopes).contains(scope);
    let page = ShownOnce {
        frame: Frame::of(site, "Your key", Some(visitor)),
        key: KeyFacts::of(key, state.now().wall),
        application: (application.id.to_string(), short(&application.name, &application.consumer_name).to_owned()),
        secret: issued.text.clone(),
        was_rolled,
        // A key that waits is refused everywhere.
        first: first(site, may)
            .filter(|_| key.state != KeyState::Pending)
            .map(|(api, operation)| (api, operation, SecretText::new(curl_with(operation, issued.text.expose_secret())))),
    };
    let mut response = view::page(&page)?;
    response.extensions_mut().insert(Object(format!("key:{}", key.id)));
    Ok(response)
}

/// Waits until this node knows of a change: whoever reads the key sends it at once, and must not be told that there is none. A node that
/// does not get there in time shows the page all the same.
async fn known_here(state: &ControlState, at: Revisions) {
    let known = async {
        loop {
            let node = state.status().node();
            if (node.epoch, node.authority_revision) >= (at.epoch, at.authority) {
                return;
            }
            tokio::time::sleep(KNOWN_POLL).await;
        }
    };
    tokio::time::timeout(KNOWN_WITHIN, known).await.ok();
}

/// An operation that answers without anything to fill in: what one calls first.
fn first(site: &Site, may: impl Fn(&String) -> bool) -> Option<(&str, &Operation)> {
    let all = site.apis.iter().flat_map(|api| api.operations.iter().map(move |operation| (api.name.as_str(), operation)));
    let fitting = all.filter(|(_, operation)| {
        operation.method == http::Method::GET
            && !operation.is_deprecated
            && operation.scopes.iter().all(&may)
            && operation.proofs.iter().any(|proof| proof == "API key")
            && operation.parameters.iter().all(|parameter| !parameter.is_required)
    });
    fitting.min_by_key(|(_, operation)| operation.path.len())
}

/// One key.
#[derive(Debug, Template)]
#[template(path = "portal/key.html")]
struct KeyPage {
    frame: Frame,
    key: KeyFacts,
    application: (String, String),
    last_used: Option<String>,
    live: Live,
    can_change: bool,
    overlaps: [(&'static str, i64); 5],
    wrong: Wrong,
}

/// What changes while one looks: the old secret's requests, and which regions know of a revocation.
#[derive(Debug, Template)]
#[template(path = "portal/key_live.html")]
struct Live {
    id: String,
    /// When the old secret ends, and how many requests still came with it in half a minute.
    rolling: Option<(String, String, u64)>,
    /// Regions, with whether all of their nodes refuse the key.
    regions: Vec<(String, bool)>,
    /// The revision that a change just made, `epoch.revision`: it stands in the address of the page that one is led to.
    at: String,
}

impl Live {
    /// Whether there is anything to wait for.
    fn changes(&self) -> bool {
        self.rolling.is_some() || self.regions.iter().any(|(_, knows)| !knows)
    }
}

async fn found(state: &ControlState, visitor: &SignedIn, id: &str, right: Right) -> Result<KeyInfo, Refusal> {
    let id = KeyId::parse(id).ok_or_else(|| Refusal::not_found("key"))?;
    let key = read!(state, |reader| store::key::get(reader, &id))?;
    visitor.may(key.consumer, right, "key")?;
    Ok(key)
}

pub(in crate::portal) async fn show(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let key = found(&state, &visitor, &id, Right::Read).await?;
    let page = key_page(&state, &visitor, &key, Wrong::default()).await?;
    let live = live_of(&state, &key, revision(query.as_deref())).await?;
    view::page(&KeyPage { frame: page.frame.saying(query.as_deref()), live, ..page })
}

async fn key_page(state: &ControlState, visitor: &SignedIn, key: &KeyInfo, wrong: Wrong) -> Result<KeyPage, Refusal> {
    let site = site::site(state).await?;
    let last = read!(state, |reader| store::usage::last_use(reader, &key.id))?;
    let membership = visitor.may(key.consumer, Right::Read, "key")?;
    Ok(KeyPage {
        frame: Frame::of(&site, key.name.as_str(), Some(visitor)),
        key: KeyFacts::of(key, state.now().wall),
        application: (key.application.to_string(), short(&key.application_name, &key.consumer_name).to_owned()),
        last_used: last.map(|last| used(&last)),
        live: live_of(state, key, None).await?,
        can_change: rights::allows(membership.role, Right::Keys),
        overlaps: OVERLAPS,
        wrong,
    })
}

pub(in crate::portal) async fn live(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let key = found(&state, &visitor, &id, Right::Read).await?;
    view::page(&live_of(&state, &key, revision(query.as_deref())).await?)
}

/// `at=epoch.revision` of a query.
fn revision(query: Option<&str>) -> Option<(u64, u64)> {
    let (epoch, revision) = query?.split('&').find_map(|pair| pair.strip_prefix("at="))?.split_once('.')?;
    Some((epoch.parse().ok()?, revision.parse().ok()?))
}

async fn live_of(state: &ControlState, key: &KeyInfo, at: Option<(u64, u64)>) -> Result<Live, Refusal> {
    let now = state.now().wall;
    let rolling = match key.previous.as_ref().filter(|previous| now < previous.until && key.state != KeyState::Revoked) {
        Some(previous) => {
            let count = read!(state, |reader| store::usage::old_secret_requests(reader, &key.id))?;
            Some((previous.last_four.clone(), minute(previous.until), count))
        }
        None => None,
    };
    let regions = match at {
        Some(at) => knowing(state, at).await?,
        None => Vec::new(),
    };
    let at = at.map(|(epoch, revision)| format!("{epoch}.{revision}")).unwrap_or_default();
    Ok(Live { id: key.id.to_string(), rolling, regions, at })
}

/// Which regions know of a change: those whose nodes have all reported a revision that has it.
async fn knowing(state: &ControlState, at: (u64, u64)) -> Result<Vec<(String, bool)>, Refusal> {
    let nodes = read!(state, |reader| store::node::list(reader))?;
    let now = state.now().wall;
    // A node that has not spoken for a minute serves by its routes' policy, if it runs at all.
    let is_here = |node: &&NodeInfo| node.last_seen.plus_seconds(60) > now;
    let mut regions: Vec<(String, bool)> = Vec::new();
    for node in nodes.iter().filter(is_here) {
        let knows = (node.revisions.epoch, node.revisions.authority) >= at;
        match regions.iter_mut().find(|(region, _)| *region == node.region) {
            Some((_, all)) => *all &= knows,
            None => regions.push((node.region.clone(), knows)),
        }
    }
    regions.sort();
    Ok(regions)
}

pub(in crate::portal) async fn roll(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let key = found(&state, &visitor, &id, Right::Keys).await?;
    let hours = fields.text("hours").parse::<i64>().ok().filter(|hours| OVERLAPS.iter().any(|(_, known)| known == hours));
    if hours.is_none() {
        fields.refuse("roll", "choose an overlap of the list");
    }
    let mut wrong = fields.finish()?;
    if let (Some(hours), true) = (hours, wrong.is_empty()) {
        let now = state.now().wall;
        // Everything that the page needs is read before: a secret that is not shown is lost.
        let application = read!(state, |reader| store::application::get(reader, key.application))?;
        let site = site::site(&state).await?;
        let issued = draw(|state| key::reissue(key.environment.purpose(), key.id, state.peppers(), &state.random32()), &state)?;
        let overlap_until = (hours > 0).then(|| now.plus_seconds(hours * 3_600));
        let roll = Roll { issued: &issued, overlap_until, while_rolling: WhileRolling::default(), now };
        match store::key::life::roll(&primary(&state)?, &key.id, roll, &visitor.actor()).await {
            Ok(written) => {
                return shown_once(&state, &site, &visitor, &application, &written, &issued, true).await;
            }
            Err(error) => wrong = mistake(&error, "roll")?,
        }
    }
    view::form(&wrong.clone(), &key_page(&state, &visitor, &key, wrong).await?)
}

pub(in crate::portal) async fn end_overlap(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Refusal> {
    let key = found(&state, &visitor, &id, Right::Keys).await?;
    fields.finish()?;
    let done = store::key::life::end_overlap(&primary(&state)?, &key.id, &visitor.actor()).await.map(|written| written.revisions);
    after(&state, &visitor, &key, done, ("roll", "overlap-ended")).await
}

pub(in crate::portal) async fn disable(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Refusal> {
    switch(&state, &visitor, &id, fields, (KeyState::Active, KeyState::Disabled, "key-disabled")).await
}

pub(in crate::portal) async fn enable(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Refusal> {
    switch(&state, &visitor, &id, fields, (KeyState::Disabled, KeyState::Active, "key-enabled")).await
}

async fn switch(
    state: &ControlState,
    visitor: &SignedIn,
    id: &str,
    fields: Fields,
    (from, into, said): (KeyState, KeyState, &'static str),
) -> Result<Response, Refusal> {
    let key = found(state, visitor, id, Right::Keys).await?;
    fields.finish()?;
    // What the API's owner has switched off, a team does not switch on again.
    if key.is_off_by_owner() && into == KeyState::Active {
        let wrong = Wrong::one("state", "the API's owner has switched this key off; ask them");
        return view::form(&wrong.clone(), &key_page(state, visitor, &key, wrong).await?);
    }
    let done = store::key::life::set_state(&primary(state)?, &key.id, from, into, &visitor.actor()).await.map(|written| written.revisions);
    Box::pin(after(state, visitor, &key, done, ("state", said))).await
}

pub(in crate::portal) async fn revoke(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let key = found(&state, &visitor, &id, Right::Keys).await?;
    let typed = fields.text("confirm");
    let reason = if fields.text("leaked").is_empty() { RevokedReason::Asked } else { RevokedReason::Leaked };
    fields.finish()?;
    if typed.trim() != key.name.trim() {
        let wrong = Wrong::one("revoke", "type the key's name, exactly, to revoke it");
        return view::form(&wrong.clone(), &key_page(&state, &visitor, &key, wrong).await?);
    }
    let done = store::key::revoke(&primary(&state)?, &key.id, reason, &visitor.actor()).await.map(|revoked| revoked.revisions);
    after(&state, &visitor, &key, done, ("revoke", "key-revoked")).await
}

/// Leads back to the key after an act, or shows what was in its way.
async fn after(
    state: &ControlState,
    visitor: &SignedIn,
    key: &KeyInfo,
    done: Result<Revisions, StoreError>,
    (field, said): (&'static str, &'static str),
) -> Result<Response, Refusal> {
    match done {
        Ok(Revisions { epoch, authority, .. }) => {
            let path = format!("/portal/keys/{}?done={said}&at={epoch}.{authority}", key.id);
            Ok(to(&path, format!("key:{}", key.id)))
        }
        Err(error) => {
            let wrong = mistake(&error, field)?;
            view::form(&wrong.clone(), &key_page(state, visitor, key, wrong).await?)
        }
    }
}

/// What is in the way of an act, in words for the page.
fn mistake(error: &StoreError, field: &'static str) -> Result<Wrong, Refusal> {
    if is_conflict(error, "key_rolling") {
        return Ok(Wrong::one(field, "the old secret of the last roll still works: end its overlap first"));
    }
    if is_conflict(error, "key_state") {
        return Ok(Wrong::one(field, "the key is in a state that does not allow this; somebody else may have changed it just now"));
    }
    Err(store_refusal(error))
}
