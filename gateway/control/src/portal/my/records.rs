//! What a team's keys were used for, and their recent requests.

use axum::{extract::State, response::Response};
use http::Uri;
use model::{key::KeyId, problem::ProblemKind};
use serde_json::{Map, Value};
use store::audit::{AuditFilter, AuditItem};

use super::{applications, meant_by};
use crate::{
    admin::{
        Reply,
        audit::{moment, status_range},
        instant, page_request, read, store_refusal,
        usage::{self as admin_usage, Asked},
    },
    openapi::{form, operation::Doc},
    portal::{
        pages::requests::{DAYS, SHOWN, of_team},
        rights::Right,
        session::SignedIn,
    },
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// `GET /v1/my/usage`: of an application, or of one key.
pub(super) async fn usage(State(state): State<ControlState>, visitor: SignedIn, uri: Uri) -> Result<Response, Refusal> {
    let mut query = Query::of(&uri);
    let mut asked = Asked::read(&mut query, state.now().wall);
    if asked.filter.key_id.is_none() && asked.filter.application.is_none() {
        query.refuse("application", "required", "is required, unless a key is named");
    }
    query.finish()?;
    if let Some(text) = asked.filter.application.take() {
        // By its name: that is what records have.
        asked.filter.application = Some(applications::found(&state, &visitor, &text, Right::Read).await?.name);
    }
    if let Some(id) = asked.filter.key_id {
        let key = read!(state, |reader| store::key::get(reader, &id))?;
        visitor.may(key.consumer, Right::Read, "key")?;
    }
    admin_usage::answer(&state, &asked).await
}

/// `GET /v1/my/requests`: newest first.
pub(super) async fn requests(State(state): State<ControlState>, visitor: SignedIn, uri: Uri) -> Result<Reply, Refusal> {
    let mut query = Query::of(&uri);
    let now = state.now().wall;
    let oldest = now.plus_seconds(-DAYS * 86_400);
    let page = page_request(&mut query);
    let team = meant_by(&visitor, &mut query)?;
    let time = "must be a time like 2026-01-31T12:00:00Z, or how long ago, like 15m";
    let status = query.read("status", "must be like `403`, `4xx`, `>=400`, `<500` or `400-499`", status_range);
    let filter = AuditFilter {
        request_id: query.text("request_id"),
        key_id: query.read("key", "must be the id of a key: twelve letters and digits", KeyId::parse).map(|id| id.to_string()),
        status_min: status.map(|(min, _)| min),
        status_max: status.map(|(_, max)| max),
        since: Some(query.read("since", time, |text| moment(text, now)).map_or(oldest, |since| since.max(oldest))),
        until: query.read("until", time, |text| moment(text, now)),
        ..team.map(of_team).unwrap_or_default()
    };
    query.finish()?;
    let replica = state.replica().map_err(|error| store_refusal(&error))?;
    let found = store::audit::query(&replica, &filter, &page).await.map_err(|error| store_refusal(&error))?;
    Ok(Reply::page(&found.map(|item| view(&item))))
}

/// What of a record its own caller may see.
fn view(item: &AuditItem) -> Value {
    let event = item.event.as_ref().and_then(Value::as_object);
    let known = SHOWN.iter().filter_map(|(name, _)| Some(((*name).to_owned(), event?.get(*name)?.clone())));
    let mut members: Map<String, Value> = known.collect();
    members.insert("at".to_owned(), Value::from(instant(item.at)));
    members.extend(event.and_then(|event| Some(("request_id".to_owned(), event.get("request_id")?.clone()))));
    Value::Object(members)
}

pub(super) fn usage_doc() -> Doc {
    admin_usage::parameters(Doc::new("getMyUsage", "Shows what the keys of an application were used for, as the access log has it"))
        .query::<form::KeyId>("key", "Only this key.")
        .query_text("application", "Only keys of this application, by its id or its name; required without a key.")
        .refuses(ProblemKind::ResourceNotFound)
        .refuses(ProblemKind::RoleInsufficient)
}

pub(super) fn requests_doc() -> Doc {
    Doc::new("listMyRequests", "Lists recent requests of a team, newest first")
        .about("What of a record its own caller may see. Of the last seven days, however far back `since` says.")
        .query_text("team", "The id or the name of the team; required for whoever belongs to several.")
        .query_text("request_id", "Only this request.")
        .query::<form::KeyId>("key", "Only with this key.")
        .query_as("status", form::status_range().into(), "Only with such a status.")
        .query::<form::Moment>("since", "From when on.")
        .query::<form::Moment>("until", "Until when.")
        .pages_of(form::record().into(), "A page.")
        .refuses(ProblemKind::ResourceNotFound)
        .refuses(ProblemKind::RoleInsufficient)
}
