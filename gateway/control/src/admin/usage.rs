//! `GET /v1/usage`: what keys were used for, as the access log has it.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Uri, header};
use model::{key::KeyId, time::UtcMicros};
use serde::Serialize;
use store::usage::{Point, Step, UsageFilter};
use utoipa::ToSchema;

use crate::{
    admin::{Reply, audit::moment, instant, store_refusal},
    guard::Permit,
    openapi::{form, operation::Doc},
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// The most points that one answer has: a day of minutes.
const POINTS_MAX: i64 = 1_500;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) filter: UsageFilter,
    form: Form,
}

/// `GET /v1/usage`: points at which there was use, oldest first. The last one may still grow.
pub(crate) async fn series(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Response, Refusal> {
    let mut query = Query::of(&uri);
    let mut asked = Asked::read(&mut query, state.now().wall);
    asked.filter.route = query.text("route");
    query.finish()?;
    answer(&state, &asked).await
}

impl Asked {
    /// Takes everything but the route.
    pub(crate) fn read(query: &mut Query, now: UtcMicros) -> Self {
        let step = query.read("step", "must be `minute`, `hour` or `day`", step).unwrap_or(Step::Hour);
        let length = i64::try_from(step.length().as_micros()).unwrap_or(i64::MAX);
        let time = "must be a time like 2026-01-31T12:00:00Z, or how long ago, like 15m";
        let until = query.read("until", time, |text| moment(text, now)).unwrap_or(UtcMicros(now.0.saturating_add(length)));
        let since = query.read("since", time, |text| moment(text, now)).unwrap_or(UtcMicros(until.0.saturating_sub(25 * length)));
        let since = UtcMicros(since.0 - since.0.rem_euclid(length));
        if until.0.saturating_sub(since.0) / length > POINTS_MAX {
            query.refuse("since", "range", "is too far from `until` for this step: at most 1500 points are shown");
        }
        let form = query
            .read("format", "must be `json` or `csv`", |text| match text {
                "json" => Some(Form::Json),
                "csv" => Some(Form::Csv),
                _ => None,
            })
            .unwrap_or(Form::Json);
        let filter = UsageFilter {
            key_id: query.read("key", "must be the id of a key: twelve letters and digits", KeyId::parse),
            application: query.text("application"),
            route: None,
            since,
            until,
            step,
        };
        Self { filter, form }
    }
}

/// The points that are asked for.
pub(crate) async fn answer(state: &ControlState, asked: &Asked) -> Result<Response, Refusal> {
    let UsageFilter { since, until, step, .. } = asked.filter;
    let replica = state.replica().map_err(|error| store_refusal(&error))?;
    let points = store::usage::series(&replica, &asked.filter).await.map_err(|error| store_refusal(&error))?;
    Ok(match asked.form {
        Form::Csv => csv(&points),
        Form::Json => {
            let (since, until, items) = (instant(since), instant(until), points.iter().map(UsagePoint::from).collect());
            Reply::ok(&Usage { since, until, step_seconds: step.length().as_secs(), items }).into_response()
        }
    })
}

fn step(text: &str) -> Option<Step> {
    match text {
        "minute" => Some(Step::Minute),
        "hour" => Some(Step::Hour),
        "day" => Some(Step::Day),
        _ => None,
    }
}

/// What keys were used for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// As asked for, cut to whole steps.
    #[schema(value_type = form::Instant)]
    since: String,
    #[schema(value_type = form::Instant)]
    until: String,
    step_seconds: u64,
    /// Steps with use, oldest first; the last one may still grow.
    items: Vec<UsagePoint>,
}

/// One step.
#[derive(Debug, Serialize, ToSchema)]
struct UsagePoint {
    /// When it begins.
    #[schema(value_type = form::Instant)]
    at: String,
    /// Requests of callers who were known.
    requests: u64,
    /// Those that the gateway refused.
    denied: u64,
    /// Those that were answered with 4xx.
    client_errors: u64,
    /// Those that were answered with 5xx.
    server_errors: u64,
    /// Those that came with the secret before the last roll.
    old_secret: u64,
    /// Of request bodies.
    request_bytes: u64,
    /// Of response bodies.
    response_bytes: u64,
    /// Half of them were decided within this.
    p50_us: Option<u64>,
    /// 95 of 100 were.
    p95_us: Option<u64>,
}

impl From<&Point> for UsagePoint {
    fn from(point: &Point) -> Self {
        Self {
            at: instant(point.at),
            requests: point.requests,
            denied: point.denied,
            client_errors: point.client_errors,
            server_errors: point.server_errors,
            old_secret: point.old_secret,
            request_bytes: point.request_bytes,
            response_bytes: point.response_bytes,
            p50_us: point.p50_us,
            p95_us: point.p95_us,
        }
    }
}

/// How [`series`] is described.
pub(crate) fn series_doc() -> Doc {
    parameters(Doc::new("getUsage", "Shows what keys were used for, as the access log has it"))
        .query::<form::KeyId>("key", "Only this key.")
        .query_text("application", "Only keys of this application, by name.")
        .query_text("route", "Only on this route, by name.")
}

/// What both kinds of callers can say, and what they are answered.
pub(crate) fn parameters(doc: Doc) -> Doc {
    doc.query_as("step", form::word(["minute", "hour", "day"]).into(), "How long a point is; an hour when absent.")
        .query::<form::Moment>("since", "From when on; 25 steps before `until` when absent. At most 1,500 points are shown.")
        .query::<form::Moment>("until", "Until when; now when absent.")
        .query_as("format", form::word(["json", "csv"]).into(), "How the answer is written; as JSON when absent.")
        .answers::<Usage>(200, "The points.")
        .answers_with(200, "The points.", "text/csv; charset=utf-8", form::text("RFC 4180, with a line of names.").into())
}

/// RFC 4180; every field is a number or an instant, so nothing needs quotes.
pub(crate) fn csv(points: &[Point]) -> Response {
    let mut out = String::from("at,requests,denied,client_errors,server_errors,old_secret,request_bytes,response_bytes,p50_us,p95_us\r\n");
    for point in points {
        let optional = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
        let counts =
            [point.requests, point.denied, point.client_errors, point.server_errors, point.old_secret, point.request_bytes, point.response_bytes];
        out += &point.at.to_string();
        for count in counts {
            out = out + "," + &count.to_string();
        }
        out = out + "," + &optional(point.p50_us) + "," + &optional(point.p95_us) + "\r\n";
    }
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"))], out).into_response()
}
