//! Recent requests of a team, from the access log: a support ticket quotes one id.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use http::Uri;
use serde_json::Value;
use store::{
    account::team::Membership,
    audit::{AuditFilter, AuditItem},
    page::PageRequest,
};

use super::{short, team};
use crate::{
    admin::store_refusal,
    portal::{
        rights::Right,
        session::{SignedIn, minute},
        site,
        view::{self, Frame},
    },
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// Requests of one page.
const PAGE: u32 = 50;
/// What is searched when nothing is said.
pub(in crate::portal) const DAYS: i64 = 7;

#[derive(Debug, Template)]
#[template(path = "portal/requests.html")]
struct List {
    frame: Frame,
    /// Teams to choose from, with whether one is chosen.
    teams: Vec<(String, String, bool)>,
    only_errors: bool,
    request_id: String,
    lines: Vec<Line>,
    next: Option<String>,
}

/// A request in a list.
#[derive(Debug)]
struct Line {
    at: String,
    request_id: String,
    method: String,
    path: String,
    status: String,
    is_error: bool,
    application: String,
    key: String,
    took: String,
}

#[derive(Debug, Template)]
#[template(path = "portal/request.html")]
struct One {
    frame: Frame,
    request_id: String,
    /// Names and values, as the log has them.
    records: Vec<Vec<(&'static str, String)>>,
    problem: Option<(String, &'static str)>,
}

pub(in crate::portal) async fn list(State(state): State<ControlState>, visitor: SignedIn, uri: Uri) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let mut query = Query::of(&uri);
    let chosen = query.text("team");
    let only_errors = query.switch("errors");
    let request_id = query.text("request_id").unwrap_or_default().trim().to_owned();
    let cursor = query.text("cursor").filter(|cursor| !cursor.is_empty());
    query.finish()?;
    let membership = chosen_team(&visitor, chosen.as_deref())?;
    let mut lines = Vec::new();
    let mut next = None;
    if let Some(membership) = membership {
        let filter = AuditFilter {
            request_id: Some(request_id.clone()).filter(|id| !id.is_empty()),
            status_min: only_errors.then_some(400),
            since: Some(state.now().wall.plus_seconds(-DAYS * 86_400)),
            ..of_team(membership)
        };
        let replica = state.replica().map_err(|error| store_refusal(&error))?;
        let page = store::audit::query(&replica, &filter, &PageRequest { limit: PAGE, cursor }).await.map_err(|error| store_refusal(&error))?;
        lines = page.items.iter().map(|item| line(item, membership)).collect();
        let errors = if only_errors { "&errors=1" } else { "" };
        next = page.next_cursor.map(|cursor| format!("?team={}{errors}&cursor={}", membership.consumer, view::in_query(&cursor)));
    }
    let is_chosen = |team: &Membership| membership.is_some_and(|chosen| chosen.consumer == team.consumer);
    let teams = visitor.teams.iter().map(|team| (team.consumer.to_string(), team.consumer_name.clone(), is_chosen(team))).collect();
    view::page(&List { frame: Frame::of(&site, "Recent requests", Some(&visitor)), teams, only_errors, request_id, lines, next })
}

/// The team whose requests are wanted: the first when none is named; none for whoever has no team.
fn chosen_team<'v>(visitor: &'v SignedIn, chosen: Option<&str>) -> Result<Option<&'v Membership>, Refusal> {
    match chosen.filter(|text| !text.is_empty()) {
        Some(text) => visitor.may(team(text)?, Right::Read, "team").map(Some),
        None => Ok(visitor.teams.first()),
    }
}

/// What the log has of a team: answers to its requests.
pub(in crate::portal) fn of_team(membership: &Membership) -> AuditFilter {
    AuditFilter {
        tenant: Some(membership.tenant.clone()),
        consumer: Some(membership.consumer_name.clone()),
        class: Some("access".to_owned()),
        ..AuditFilter::default()
    }
}

fn member(item: &AuditItem, name: &str) -> String {
    match item.event.as_ref().and_then(|event| event.get(name)) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn line(item: &AuditItem, membership: &Membership) -> Line {
    let status = member(item, "status");
    let took = member(item, "duration_us").parse::<u64>().map(|us| format!("{}.{:01} ms", us / 1_000, us % 1_000 / 100)).unwrap_or_default();
    Line {
        at: item.at.to_string().get(..19).unwrap_or_default().replace('T', " "),
        request_id: member(item, "request_id"),
        method: member(item, "method"),
        path: member(item, "path"),
        is_error: status.parse::<u16>().is_ok_and(|status| status >= 400),
        status,
        application: short(&member(item, "application"), &membership.consumer_name).to_owned(),
        key: member(item, "key_id"),
        took,
    }
}

/// What of a record its own caller may see, under names for people.
pub(in crate::portal) const SHOWN: [(&str, &str); 18] = [
    ("time", "Time"),
    ("phase", "Record"),
    ("method", "Method"),
    ("host", "Host"),
    ("path", "Path"),
    ("status", "Status"),
    ("reason", "Problem"),
    ("decision", "Decision"),
    ("route", "Route"),
    ("api_operation", "Operation"),
    ("application", "Application"),
    ("key_id", "Key"),
    ("region", "Region"),
    ("limiter", "Limit"),
    ("duration_us", "Took (µs)"),
    ("request_bytes", "Bytes sent"),
    ("response_bytes", "Bytes received"),
    ("protocol", "Protocol"),
];

pub(in crate::portal) async fn show(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(request_id): Path<String>,
) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let replica = state.replica().map_err(|error| store_refusal(&error))?;
    let mut found = Vec::new();
    for membership in &visitor.teams {
        let filter = AuditFilter { request_id: Some(request_id.clone()), ..of_team(membership) };
        let page = store::audit::query(&replica, &filter, &PageRequest { limit: 10, cursor: None }).await.map_err(|error| store_refusal(&error))?;
        found.extend(page.items);
    }
    if found.is_empty() {
        return Err(Refusal::not_found("request of your teams; it may not be loaded yet, which takes some seconds"));
    }
    let problem = found.iter().map(|item| member(item, "reason")).find_map(|code| {
        let kind = model::problem::ProblemKind::ALL.iter().find(|kind| kind.code() == code)?;
        Some((code, kind.title()))
    });
    let value = |item: &AuditItem, name: &str| if name == "time" { minute(item.at) } else { member(item, name) };
    let record = |item: &AuditItem| SHOWN.iter().map(|(name, words)| (*words, value(item, name))).filter(|(_, value)| !value.is_empty()).collect();
    let records = found.iter().map(record).collect();
    view::page(&One { frame: Frame::of(&site, "Request", Some(&visitor)), request_id, records, problem })
}
