//! `GET /v1/usage`: what keys were used for, as the access log has it.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Uri, header};
use model::{key::KeyId, time::UtcMicros};
use serde_json::{Value, json};
use store::usage::{Point, Step, UsageFilter};

use crate::{
    admin::{Reply, audit::moment, instant, store_refusal},
    guard::Permit,
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

/// `GET /v1/usage`: points at which there was use, oldest first. The last one may still grow.
pub(crate) async fn series(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Response, Refusal> {
    let mut query = Query::of(&uri);
    let now = state.now().wall;
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
        route: query.text("route"),
        since,
        until,
        step,
    };
    query.finish()?;
    let replica = state.replica().map_err(|error| store_refusal(&error))?;
    let points = store::usage::series(&replica, &filter).await.map_err(|error| store_refusal(&error))?;
    Ok(match form {
        Form::Csv => csv(&points),
        Form::Json => Reply::ok(json!({
            "since": instant(since), "until": instant(until), "step_seconds": step.length().as_secs(),
            "items": points.iter().map(view).collect::<Vec<_>>(),
        }))
        .into_response(),
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

fn view(point: &Point) -> Value {
    json!({
        "at": instant(point.at),
        "requests": point.requests,
        "denied": point.denied,
        "client_errors": point.client_errors,
        "server_errors": point.server_errors,
        "old_secret": point.old_secret,
        "request_bytes": point.request_bytes,
        "response_bytes": point.response_bytes,
        "p50_us": point.p50_us,
        "p95_us": point.p95_us,
    })
}

/// RFC 4180; every field is a number or an instant, so nothing needs quotes.
fn csv(points: &[Point]) -> Response {
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
