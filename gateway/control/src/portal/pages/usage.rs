//! Usage, as the access log has it: for the chart, as CSV, and as bars of quotas.

use axum::{
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
};
use model::{limit::Rate, time::UtcMicros};
use serde::Serialize;
use store::{
    application::ApplicationInfo,
    usage::{Point, Step, UsageFilter},
};

use super::application;
use crate::{
    admin::{store_refusal, usage as admin_usage},
    portal::{rights::Right, session::SignedIn, site::Site},
    refusal::Refusal,
    state::ControlState,
};

/// Points of a chart.
const POINTS: i64 = 48;
/// Limits of a shorter period than this say nothing about a quota.
const QUOTA_NANOS: u64 = 3_600_000_000_000;

/// What a chart shows.
#[derive(Debug, Serialize)]
struct Chart {
    /// Seconds since 1970, one for each step.
    at: Vec<i64>,
    requests: Vec<u64>,
    errors: Vec<u64>,
    p50_ms: Vec<Option<f64>>,
    p95_ms: Vec<Option<f64>>,
}

/// How much of a plan's limit is used.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) limit: String,
    /// Requests in the last period, and how many there may be; absent for limits of a short period.
    pub(super) used: Option<(u64, u64)>,
}

pub(in crate::portal) async fn json(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Refusal> {
    let (step, since, until, points) = points(&state, &visitor, &id, query).await?;
    Ok(axum::Json(chart(&points, step, since, until)).into_response())
}

pub(in crate::portal) async fn csv(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Refusal> {
    let (.., points) = points(&state, &visitor, &id, query).await?;
    let mut response = admin_usage::csv(&points);
    let name = http::HeaderValue::from_static("attachment; filename=\"usage.csv\"");
    response.headers_mut().insert(http::header::CONTENT_DISPOSITION, name);
    Ok(response)
}

async fn points(
    state: &ControlState,
    visitor: &SignedIn,
    id: &str,
    RawQuery(query): RawQuery,
) -> Result<(Step, UtcMicros, UtcMicros, Vec<Point>), Refusal> {
    let application = application(state, visitor, id, Right::Read).await?;
    let step = match query.as_deref().and_then(|query| query.strip_prefix("step=")) {
        Some("minute") => Step::Minute,
        Some("day") => Step::Day,
        _ => Step::Hour,
    };
    let length = micros(step);
    let now = state.now().wall;
    let until = UtcMicros(now.0 - now.0.rem_euclid(length) + length);
    let since = UtcMicros(until.0 - POINTS * length);
    let points = series(state, &application, step, since, until).await?;
    Ok((step, since, until, points))
}

async fn series(state: &ControlState, application: &ApplicationInfo, step: Step, since: UtcMicros, until: UtcMicros) -> Result<Vec<Point>, Refusal> {
    let filter = UsageFilter { key_id: None, application: Some(application.name.clone()), route: None, since, until, step };
    let replica = state.replica().map_err(|error| store_refusal(&error))?;
    store::usage::series(&replica, &filter).await.map_err(|error| store_refusal(&error))
}

fn micros(step: Step) -> i64 {
    i64::try_from(step.length().as_micros()).unwrap_or(i64::MAX)
}

/// Steps without use are zeros: a gap would look like one in the measurement.
fn chart(points: &[Point], step: Step, since: UtcMicros, until: UtcMicros) -> Chart {
    let length = micros(step);
    let starts: Vec<i64> = (0..POINTS).map(|n| since.0 + n * length).take_while(|at| *at < until.0).collect();
    let of = |at: i64| points.iter().find(|point| point.at.0 == at);
    let each = |value: fn(&Point) -> u64| starts.iter().map(|at| of(*at).map_or(0, value)).collect();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a chart")]
    let ms = |value: fn(&Point) -> Option<u64>| starts.iter().map(|at| of(*at).and_then(value).map(|us| us as f64 / 1_000.0)).collect();
    Chart {
        at: starts.iter().map(|at| at / 1_000_000).collect(),
        requests: each(|point| point.requests),
        errors: each(|point| point.denied + point.client_errors + point.server_errors),
        p50_ms: ms(|point| point.p50_us),
        p95_ms: ms(|point| point.p95_us),
    }
}

/// The limits of an application's plan, with what is used of those that last long enough to be a quota.
pub(super) async fn bars(state: &ControlState, site: &Site, application: &ApplicationInfo) -> Result<Vec<Bar>, Refusal> {
    let Some(limits) = application.plan.as_ref().and_then(|plan| site.plans.get(plan)) else { return Ok(Vec::new()) };
    let mut bars = Vec::with_capacity(limits.len());
    for (name, limit) in limits {
        let used = if limit.rate.period_nanos >= QUOTA_NANOS {
            Some((last(state, application, limit.rate).await?, u64::from(limit.rate.count.get())))
        } else {
            None
        };
        let words = serde_json::to_value(limit.rate).ok().and_then(|rate| rate.as_str().map(str::to_owned)).unwrap_or_default();
        bars.push(Bar { name: name.clone(), limit: words, used });
    }
    Ok(bars)
}

async fn last(state: &ControlState, application: &ApplicationInfo, rate: Rate) -> Result<u64, Refusal> {
    let now = state.now().wall;
    let period = i64::try_from(rate.period_nanos / 1_000).unwrap_or(i64::MAX);
    let step = if rate.period_nanos > 24 * QUOTA_NANOS { Step::Day } else { Step::Hour };
    let since = UtcMicros(now.0.saturating_sub(period));
    let points = series(state, application, step, since, UtcMicros(now.0.saturating_add(1))).await?;
    Ok(points.iter().map(|point| point.requests.saturating_sub(point.denied)).sum())
}
