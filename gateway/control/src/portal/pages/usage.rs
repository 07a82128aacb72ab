//! Usage of an application or of a key, as the access log has it: as figures, as a chart and a table of the same, and as CSV.

pub(super) mod bar;

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
};
use model::{key::KeyId, time::UtcMicros};
use serde::Serialize;
use store::usage::{Point, Step, Total, UsageFilter};

use super::application;
use crate::{
    admin::{store_refusal, usage as admin_usage},
    portal::{
        rights::Right,
        session::{SignedIn, minute},
    },
    refusal::Refusal,
    state::ControlState,
};

/// Points of a chart.
const POINTS: i64 = 48;

/// Whose usage.
#[derive(Debug, Clone)]
pub(super) enum Whose {
    /// That of all keys of the application with this name.
    Application(String),
    /// That of one key.
    Key(KeyId),
}

/// The part of a page that shows usage. Scripts draw a chart and change the step; without them it shows hours.
#[derive(Debug, Template)]
#[template(path = "portal/usage.html")]
pub(super) struct Usage {
    /// The page that it stands on.
    path: String,
    total: Figures,
    /// Steps with any use, newest first.
    rows: Vec<(String, Figures)>,
}

/// Figures in words.
#[derive(Debug)]
struct Figures {
    requests: u64,
    errors: u64,
    p50: String,
    p95: String,
}

impl Figures {
    fn of(requests: u64, errors: u64, (p50_us, p95_us): (Option<u64>, Option<u64>)) -> Self {
        // As scripts write the same number.
        let words = |us: Option<u64>| us.map_or_else(|| "–".to_owned(), |us| format!("{}", tenths(us)));
        Self { requests, errors, p50: words(p50_us), p95: words(p95_us) }
    }
}

/// Milliseconds, to a tenth.
fn tenths(us: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds for people")]
    let tenths = (us as f64 / 100.0).round();
    tenths / 10.0
}

/// What a chart and its table show.
#[derive(Debug, Serialize)]
struct Chart {
    /// Seconds since 1970, one for each step.
    at: Vec<i64>,
    requests: Vec<u64>,
    errors: Vec<u64>,
    p50_ms: Vec<Option<f64>>,
    p95_ms: Vec<Option<f64>>,
    total: ChartTotal,
}

/// All steps together.
#[derive(Debug, Serialize)]
struct ChartTotal {
    requests: u64,
    errors: u64,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
}

/// Usage in steps, and all of it.
#[derive(Debug)]
struct Series {
    step: Step,
    since: UtcMicros,
    until: UtcMicros,
    points: Vec<Point>,
    total: Total,
}

/// The part of a page, with the last 48 hours.
pub(super) async fn shown(state: &ControlState, whose: Whose, path: String) -> Result<Usage, Refusal> {
    let Series { points, total, .. } = Box::pin(series(state, whose, Step::Hour)).await?;
    let row = |point: &Point| (minute(point.at), Figures::of(point.requests, errors(point), (point.p50_us, point.p95_us)));
    let total = Figures::of(total.requests, total.errors, (total.p50_us, total.p95_us));
    Ok(Usage { path, total, rows: points.iter().rev().map(row).collect() })
}

pub(in crate::portal) async fn application_json(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let application = application(&state, &visitor, &id, Right::Read).await?;
    json(&state, Whose::Application(application.name), query.as_deref()).await
}

pub(in crate::portal) async fn application_csv(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let application = application(&state, &visitor, &id, Right::Read).await?;
    csv(&state, Whose::Application(application.name), query.as_deref()).await
}

pub(in crate::portal) async fn key_json(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let key = super::keys::found(&state, &visitor, &id, Right::Read).await?;
    json(&state, Whose::Key(key.id), query.as_deref()).await
}

pub(in crate::portal) async fn key_csv(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let key = super::keys::found(&state, &visitor, &id, Right::Read).await?;
    csv(&state, Whose::Key(key.id), query.as_deref()).await
}

async fn json(state: &ControlState, whose: Whose, query: Option<&str>) -> Result<Response, Refusal> {
    Ok(axum::Json(chart(&Box::pin(series(state, whose, step(query))).await?)).into_response())
}

async fn csv(state: &ControlState, whose: Whose, query: Option<&str>) -> Result<Response, Refusal> {
    let Series { points, .. } = Box::pin(series(state, whose, step(query))).await?;
    let mut response = admin_usage::csv(&points);
    let name = http::HeaderValue::from_static("attachment; filename=\"usage.csv\"");
    response.headers_mut().insert(http::header::CONTENT_DISPOSITION, name);
    Ok(response)
}

fn step(query: Option<&str>) -> Step {
    match query.and_then(|query| query.strip_prefix("step=")) {
        Some("minute") => Step::Minute,
        Some("day") => Step::Day,
        Some(_) | None => Step::Hour,
    }
}

async fn series(state: &ControlState, whose: Whose, step: Step) -> Result<Series, Refusal> {
    let length = micros(step);
    let now = state.now().wall;
    let until = UtcMicros(now.0 - now.0.rem_euclid(length) + length);
    let since = UtcMicros(until.0 - POINTS * length);
    let (key_id, application) = match whose {
        Whose::Application(name) => (None, Some(name)),
        Whose::Key(id) => (Some(id), None),
    };
    let filter = UsageFilter { key_id, application, route: None, since, until, step };
    let replica = state.replica().map_err(|error| store_refusal(&error))?;
    let points = store::usage::series(&replica, &filter).await.map_err(|error| store_refusal(&error))?;
    let total = store::usage::total(&replica, &filter).await.map_err(|error| store_refusal(&error))?;
    Ok(Series { step, since, until, points, total })
}

fn micros(step: Step) -> i64 {
    i64::try_from(step.length().as_micros()).unwrap_or(i64::MAX)
}

const fn errors(point: &Point) -> u64 {
    // What the gateway has refused is among them: it was answered with such a status.
    point.client_errors + point.server_errors
}

/// Steps without use are zeros: a gap would look like one in the measurement.
fn chart(series: &Series) -> Chart {
    let Series { step, since, until, points, total } = series;
    let length = micros(*step);
    let starts: Vec<i64> = (0..POINTS).map(|n| since.0 + n * length).take_while(|at| *at < until.0).collect();
    let of = |at: i64| points.iter().find(|point| point.at.0 == at);
    let each = |value: fn(&Point) -> u64| starts.iter().map(|at| of(*at).map_or(0, value)).collect();
    let ms = |value: fn(&Point) -> Option<u64>| starts.iter().map(|at| of(*at).and_then(value).map(tenths)).collect();
    Chart {
        at: starts.iter().map(|at| at / 1_000_000).collect(),
        requests: each(|point| point.requests),
        errors: each(errors),
        p50_ms: ms(|point| point.p50_us),
        p95_ms: ms(|point| point.p95_us),
        total: ChartTotal { requests: total.requests, errors: total.errors, p50_ms: total.p50_us.map(tenths), p95_ms: total.p95_us.map(tenths) },
    }
}

#[cfg(test)]
mod tests;
