//! Keys: issued and shown once, rolled with an overlap, switched off and on, revoked.

pub(in crate::portal) mod acts;
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
    key::{Issued, KeyId},
    restriction::Restrictions,
    secret::SecretText,
    time::UtcMicros,
};
use store::{application::ApplicationInfo, key::KeyInfo, node::NodeInfo, write::Written};

pub(super) use self::wish::KeyWish;
use super::{
    application,
    applications::{self, shown_text, status, used},
    is_conflict, primary, short, to,
    try_it::curl_with,
    usage::{
        self, Usage, Whose,
        bar::{self, Bars, Holder},
    },
};
use crate::{
    admin::{
        key::{Order, Ordered},
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
    created: String,
    expires: String,
    rolled: Option<String>,
    revoked: Option<String>,
    waits: bool,
    /// Why it was refused.
    refused: Option<String>,
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
            created: minute(key.created_at),
            expires: minute(key.expires_at),
            rolled: key.rolled_at.map(minute),
            revoked: key.revoked_at.map(minute),
            waits: key.state == KeyState::Pending,
            refused: key.decision.as_ref().and_then(|decision| decision.reason.clone()),
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
        match Box::pin(issued(&state, &visitor, application.id, &wish, site::first_state(&state).await?)).await? {
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
    usage: Usage,
    bars: Bars,
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

pub(super) async fn found(state: &ControlState, visitor: &SignedIn, id: &str, right: Right) -> Result<KeyInfo, Refusal> {
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
    let page = Box::pin(key_page(&state, &visitor, &key, Wrong::default())).await?;
    let live = live_of(&state, &key, revision(query.as_deref())).await?;
    view::page(&KeyPage { frame: page.frame.saying(query.as_deref()), live, ..page })
}

async fn key_page(state: &ControlState, visitor: &SignedIn, key: &KeyInfo, wrong: Wrong) -> Result<KeyPage, Refusal> {
    let site = site::site(state).await?;
    let last = read!(state, |reader| store::usage::last_use(reader, &key.id))?;
    let membership = visitor.may(key.consumer, Right::Read, "key")?;
    let application = read!(state, |reader| store::application::get(reader, key.application))?;
    let plan = key.plan.as_deref().or(application.plan.as_deref());
    let holder = Holder { key: Some(key.id), application: &key.application_name, consumer: &key.consumer_name, plan };
    Ok(KeyPage {
        frame: Frame::of(&site, key.name.as_str(), Some(visitor)),
        key: KeyFacts::of(key, state.now().wall),
        application: (key.application.to_string(), short(&key.application_name, &key.consumer_name).to_owned()),
        last_used: last.map(|last| used(&last)),
        live: live_of(state, key, None).await?,
        usage: usage::shown(state, Whose::Key(key.id), format!("/portal/keys/{}", key.id)).await?,
        bars: Box::pin(bar::bars(state, &site, &holder)).await?,
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
