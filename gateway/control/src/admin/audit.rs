//! `GET /v1/audit/events`: the access log, newest first. Reading it is itself recorded.

use axum::extract::State;
use http::Uri;
use model::{duration::Span, time::UtcMicros};
use serde_json::{Map, Value};
use store::audit::{AuditFilter, AuditItem};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    admin::{Reply, instant, page_request, store_refusal},
    guard::Permit,
    openapi::{form, operation::Doc},
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// `GET /v1/audit/events`. It reads this region's replica: the log is large, and loaded with a delay anyway.
pub(crate) async fn events(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    let mut query = Query::of(&uri);
    let page = page_request(&mut query);
    let filter = filter(&mut query, state.now().wall);
    query.finish()?;
    let replica = state.replica().map_err(|error| store_refusal(&error))?;
    let events = store::audit::query(&replica, &filter, &page).await.map_err(|error| store_refusal(&error))?;
    // The question is part of the record: it shows whom a reader looked for.
    let question = uri.query().unwrap_or("everything");
    Ok(Reply::page(&events.map(view)).about(format!("audit:{question}")))
}

fn filter(query: &mut Query, now: UtcMicros) -> AuditFilter {
    let one_of = |allowed: &'static [&'static str]| move |text: &str| allowed.contains(&text).then(|| text.to_owned());
    let (status_min, status_max) = query
        .read("status", "must be like `403`, `4xx`, `>=400`, `<500` or `400-499`", status_range)
        .map_or((None, None), |(min, max)| (Some(min), Some(max)));
    AuditFilter {
        tenant: query.text("tenant"),
        consumer: query.text("consumer"),
        key_id: query.text("key"),
        request_id: query.text("request_id"),
        route: query.text("route"),
        method: query.text("method"),
        action: query.text("action"),
        decision: query.read("decision", "must be `allow` or `deny`", one_of(&["allow", "deny"])),
        class: query.read("class", "must be `access`, `admin` or `node`", one_of(&["access", "admin", "node"])),
        phase: query.read("phase", "must be `intent`, `outcome` or `close`", one_of(&["intent", "outcome", "close"])),
        region: query.text("region"),
        status_min,
        status_max,
        since: query.read("since", "must be a time like 2026-01-31T12:00:00Z, or how long ago, like 15m", |text| moment(text, now)),
        until: query.read("until", "must be a time like 2026-01-31T12:00:00Z, or how long ago, like 15m", |text| moment(text, now)),
    }
}

/// An instant (RFC 3339), or how long before now.
pub(crate) fn moment(text: &str, now: UtcMicros) -> Option<UtcMicros> {
    if let Some(Span(ago)) = Span::parse(text) {
        return i64::try_from(ago.as_micros()).ok().map(|micros| UtcMicros(now.0.saturating_sub(micros)));
    }
    OffsetDateTime::parse(text, &Rfc3339).ok().map(UtcMicros::from_datetime)
}

/// Statuses from and to, both included.
pub(crate) fn status_range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|status| (100..=599).contains(status));
    if let Some(rest) = text.strip_prefix(">=") {
        return Some((number(rest)?, 599));
    }
    if let Some(rest) = text.strip_prefix("<=") {
        return Some((100, number(rest)?));
    }
    if let Some(rest) = text.strip_prefix('>') {
        return Some((number(rest)? + 1, 599));
    }
    if let Some(rest) = text.strip_prefix('<') {
        return Some((100, number(rest)? - 1));
    }
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
        return Some((class * 100, class * 100 + 99));
    }
    match text.split_once('-') {
        Some((min, max)) => Some((number(min)?, number(max)?)),
        None => number(text).map(|status| (status, status)),
    }
}

/// An event with its place in the log. An event whose bytes cannot be read is shown as such: it still happened.
fn view(item: AuditItem) -> Value {
    let mut members = Map::new();
    members.insert("at".to_owned(), Value::from(instant(item.at)));
    members.insert("node".to_owned(), Value::from(item.node));
    members.insert("incarnation".to_owned(), Value::from(item.incarnation));
    members.insert("seq".to_owned(), Value::from(item.seq));
    match item.event {
        Some(Value::Object(event)) => members.extend(event),
        Some(_) | None => {
            members.insert("unreadable".to_owned(), Value::Bool(true));
        }
    }
    Value::Object(members)
}

/// How [`events`] is described.
pub(crate) fn events_doc() -> Doc {
    let status = form::status_range();
    Doc::new("listAuditEvents", "Searches the access log, newest first")
        .about("Reading it is itself recorded.")
        .query_text("tenant", "Only of this tenant.")
        .query_text("consumer", "Only of this consumer.")
        .query_text("key", "Only with this key, by its public id.")
        .query_text("request_id", "Only this request.")
        .query_text("route", "Only on this route.")
        .query_text("method", "Only with this request method.")
        .query_text("action", "Only this action of an operator.")
        .query_as("decision", form::word(["allow", "deny"]).into(), "Only what was decided so.")
        .query_as("class", form::word(["access", "admin", "node"]).into(), "Only of this class.")
        .query_as("phase", form::word(["intent", "outcome", "close"]).into(), "Only of this phase.")
        .query_text("region", "Only of this region.")
        .query_as("status", status.into(), "Only with such a status.")
        .query::<form::Moment>("since", "From when on.")
        .query::<form::Moment>("until", "Until when.")
        .pages_of(form::record().into(), "A page.")
}

#[cfg(test)]
mod tests;
