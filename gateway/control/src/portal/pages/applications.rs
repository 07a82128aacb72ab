//! Applications: they hold keys and a plan, and are what a developer makes first.

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use data_encoding::BASE64URL_NOPAD;
use model::{change::KeyState, time::UtcMicros};
use store::{
    application::{ApplicationFilter, ApplicationInfo},
    key::{KeyFilter, KeyInfo, RevokedReason},
    page::PageRequest,
    tenant::ManagedBy,
    usage::LastUse,
};

use super::{
    LISTED_MAX, application, is_conflict,
    keys::KeyWish,
    primary, short, team, to,
    usage::{
        self, Usage, Whose,
        bar::{self, Bars, Holder},
    },
};
use crate::{
    admin::{read, store_refusal},
    portal::{
        fields::{Fields, Wrong},
        my,
        rights::{self, Right},
        session::{SignedIn, minute},
        site::{self, Site},
        view::{self, Frame},
    },
    refusal::Refusal,
    state::ControlState,
};

/// A key that was not used for so many days is shown as unused.
const UNUSED_DAYS: i64 = 90;
/// A key that ends within so many days is shown as ending.
const ENDING_DAYS: i64 = 14;
const DAY_SECONDS: i64 = 86_400;

#[derive(Debug, Template)]
#[template(path = "portal/applications.html")]
struct List {
    frame: Frame,
    teams: Vec<TeamOf>,
    /// Teams in which this person may make one.
    makers: Vec<(String, String)>,
    name: String,
    wrong: Wrong,
}

/// A team's applications.
#[derive(Debug)]
struct TeamOf {
    id: String,
    name: String,
    role: &'static str,
    applications: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    id: String,
    name: String,
    plan: String,
    created: String,
}

pub(in crate::portal) async fn list(State(state): State<ControlState>, visitor: SignedIn, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let page = listed(&state, &visitor, String::new(), Wrong::default()).await?;
    view::page(&List { frame: page.frame.saying(query.as_deref()), ..page })
}

async fn listed(state: &ControlState, visitor: &SignedIn, name: String, wrong: Wrong) -> Result<List, Refusal> {
    let site = site::site(state).await?;
    let mut teams = Vec::with_capacity(visitor.teams.len());
    for team in &visitor.teams {
        let filter = ApplicationFilter { consumer: Some(team.consumer), tenant: None };
        let page = PageRequest { limit: LISTED_MAX, cursor: None };
        let applications = read!(state, |reader| store::application::list(reader, &filter, &page))?.items;
        let line = |application: ApplicationInfo| Line {
            id: application.id.to_string(),
            name: short(&application.name, &team.consumer_name).to_owned(),
            plan: application.plan.unwrap_or_else(|| "none".to_owned()),
            created: minute(application.created_at),
        };
        let applications = applications.into_iter().map(line).collect();
        teams.push(TeamOf { id: team.consumer.to_string(), name: team.consumer_name.clone(), role: team.role.as_str(), applications });
    }
    let can_make = visitor.teams.iter().filter(|team| rights::allows(team.role, Right::Applications));
    let makers = can_make.map(|team| (team.consumer.to_string(), team.consumer_name.clone())).collect();
    Ok(List { frame: Frame::of(&site, "Applications", Some(visitor)), teams, makers, name, wrong })
}

pub(in crate::portal) async fn create(State(state): State<ControlState>, visitor: SignedIn, mut fields: Fields) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let wish = fields.line("name", 30);
    let chosen = fields.text("team");
    let mut wrong = fields.finish()?;
    let consumer = team(&chosen)?;
    let membership = visitor.may(consumer, Right::Applications, "team")?;
    if wrong.is_empty() {
        match my::made(&state, &site, &visitor, membership, &wish).await? {
            Ok(written) => {
                let id = written.item.id;
                return Ok(to(&format!("/portal/applications/{id}?done=application-created"), format!("application:{id}")));
            }
            Err(error) if is_conflict(&error, "application_name_unique") => wrong = Wrong::one("name", "is taken in this team; take another"),
            Err(error) if is_conflict(&error, "application_count") => {
                wrong = Wrong::one("name", "a team has at most 20 applications; delete one first");
            }
            Err(error) => return Err(store_refusal(&error)),
        }
    }
    view::form(&wrong.clone(), &listed(&state, &visitor, wish, wrong).await?)
}

/// One application, with its keys and their use.
#[derive(Debug, Template)]
#[template(path = "portal/application.html")]
pub(super) struct ApplicationPage {
    frame: Frame,
    id: String,
    /// In its team.
    name: String,
    /// In the deployment: what records and limits call it.
    full_name: String,
    team: (String, String),
    plan: String,
    scopes: Vec<ScopeOf>,
    keys: Vec<KeyLine>,
    only_unused: bool,
    leaked: Vec<(String, String)>,
    /// What keys that are asked for here are at first.
    first: KeyState,
    can_change: bool,
    is_deletable: bool,
    usage: Usage,
    bars: Bars,
    /// Of the form of a new key: new on each page.
    form: String,
    wish: KeyWish,
    wrong: Wrong,
}

/// A scope, with the operations that need it.
#[derive(Debug)]
struct ScopeOf {
    name: String,
    operations: String,
}

/// A key in a list.
#[derive(Debug)]
struct KeyLine {
    id: String,
    name: String,
    text: String,
    environment: &'static str,
    scopes: String,
    state: &'static str,
    created: String,
    expires: String,
    /// It ends soon, or has.
    expiry_badge: Option<&'static str>,
    last_used: Option<String>,
    is_unused: bool,
}

pub(in crate::portal) async fn show(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let application = application(&state, &visitor, &id, Right::Read).await?;
    let only_unused = query.as_deref().is_some_and(|query| query.split('&').any(|pair| pair == "unused=1"));
    let page = Box::pin(shown(&state, &visitor, &application, only_unused, KeyWish::default(), Wrong::default())).await?;
    view::page(&ApplicationPage { frame: page.frame.saying(query.as_deref()), ..page })
}

pub(super) async fn shown(
    state: &ControlState,
    visitor: &SignedIn,
    application: &ApplicationInfo,
    only_unused: bool,
    wish: KeyWish,
    wrong: Wrong,
) -> Result<ApplicationPage, Refusal> {
    let site = site::site(state).await?;
    let now = state.now().wall;
    let filter = KeyFilter { application: Some(application.id), ..KeyFilter::default() };
    let page = PageRequest { limit: LISTED_MAX, cursor: None };
    let keys = read!(state, |reader| store::key::list(reader, &filter, &page))?.items;
    let leaked =
        keys.iter().filter(|key| key.revoked_reason == Some(RevokedReason::Leaked)).map(|key| (key.id.to_string(), key.name.clone())).collect();
    let mut lines = Vec::with_capacity(keys.len());
    for key in keys {
        let last = read!(state, |reader| store::usage::last_use(reader, &key.id))?;
        lines.push(line(key, last, now));
    }
    if only_unused {
        lines.retain(|line| line.is_unused);
    }
    let membership = visitor.may(application.consumer, Right::Read, "application")?;
    let name = short(&application.name, &application.consumer_name).to_owned();
    let (plan, consumer) = (application.plan.as_deref(), application.consumer_name.as_str());
    let holder = Holder { key: None, application: &application.name, consumer, plan };
    Ok(ApplicationPage {
        frame: Frame::of(&site, name.as_str(), Some(visitor)),
        id: application.id.to_string(),
        name,
        full_name: application.name.clone(),
        team: (membership.consumer.to_string(), membership.consumer_name.clone()),
        plan: application.plan.clone().unwrap_or_else(|| "none".to_owned()),
        scopes: application.scopes.iter().map(|scope| scope_of(&site, scope)).collect(),
        keys: lines,
        only_unused,
        leaked,
        first: site.first_state(),
        can_change: rights::allows(membership.role, Right::Keys),
        is_deletable: application.managed_by == ManagedBy::Api && rights::allows(membership.role, Right::Applications),
        usage: usage::shown(state, Whose::Application(application.name.clone()), format!("/portal/applications/{}", application.id)).await?,
        bars: Box::pin(bar::bars(state, &site, &holder)).await?,
        form: BASE64URL_NOPAD.encode(&state.random32()),
        wish,
        wrong,
    })
}

fn scope_of(site: &Site, scope: &str) -> ScopeOf {
    let operations = site.apis.iter().flat_map(|api| &api.operations).filter(|operation| operation.scopes.iter().any(|needed| needed == scope));
    let names: Vec<_> = operations.map(|operation| format!("{} {}", operation.method, operation.path)).collect();
    ScopeOf { name: scope.to_owned(), operations: names.join(", ") }
}

fn line(key: KeyInfo, last: Option<LastUse>, now: UtcMicros) -> KeyLine {
    let since = last.as_ref().map_or(key.created_at, |last| last.at);
    let is_usable = matches!(key.state, KeyState::Active) && now < key.expires_at;
    KeyLine {
        text: shown_text(&key),
        environment: key.environment.as_str(),
        scopes: key.scopes.as_ref().map_or_else(|| "all of the application".to_owned(), |scopes| scopes.join(" ")),
        state: status(&key, now),
        created: minute(key.created_at),
        expires: minute(key.expires_at),
        expiry_badge: match () {
            () if matches!(key.state, KeyState::Revoked) => None,
            () if now >= key.expires_at => Some("expired"),
            () if now >= key.expires_at.plus_seconds(-ENDING_DAYS * DAY_SECONDS) => Some("ends soon"),
            () => None,
        },
        is_unused: is_usable && now >= since.plus_seconds(UNUSED_DAYS * DAY_SECONDS),
        last_used: last.map(|last| used(&last)),
        id: key.id.to_string(),
        name: key.name,
    }
}

/// By what people recognize a key.
pub(super) fn shown_text(key: &KeyInfo) -> String {
    match &key.imported {
        Some(imported) if key.last_four.is_empty() => format!("{} {}", imported.system, imported.source),
        _ => format!("{}{}…{}", key.environment.purpose().prefix(), key.id, key.last_four),
    }
}

/// What a key is, in one word.
pub(super) fn status(key: &KeyInfo, now: UtcMicros) -> &'static str {
    let is_rolling = key.previous.as_ref().is_some_and(|previous| now < previous.until);
    match key.state {
        KeyState::Revoked if key.revoked_reason == Some(RevokedReason::Leaked) => "leaked",
        KeyState::Revoked if key.revoked_reason == Some(RevokedReason::Refused) => "refused",
        KeyState::Revoked => "revoked",
        _ if now >= key.expires_at => "expired",
        KeyState::Active if is_rolling => "rolling",
        KeyState::Active => "active",
        KeyState::Disabled => "disabled",
        KeyState::Pending => "waits for approval",
    }
}

/// When, where and by what a key was used last.
pub(super) fn used(last: &LastUse) -> String {
    let place = [last.region.as_deref(), last.client.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(", ");
    if place.is_empty() { minute(last.at) } else { format!("{} ({place})", minute(last.at)) }
}

pub(in crate::portal) async fn delete(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let application = application(&state, &visitor, &id, Right::Applications).await?;
    let typed = fields.text("confirm");
    fields.finish()?;
    if typed.trim() != short(&application.name, &application.consumer_name) {
        let wrong = Wrong::one("delete", "type the application's name, exactly, to delete it");
        return view::form(&wrong.clone(), &Box::pin(shown(&state, &visitor, &application, false, KeyWish::default(), wrong)).await?);
    }
    store::application::delete(&primary(&state)?, application.id, &visitor.actor()).await.map_err(|error| store_refusal(&error))?;
    Ok(to("/portal/applications?done=application-deleted", format!("application:{}", application.id)))
}
