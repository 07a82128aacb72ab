//! Usage of keys, read: what the audit loader has counted.

use std::time::Duration;

use model::{key::KeyId, time::UtcMicros};
use serde::Serialize;
use sqlx::{postgres::types::PgInterval, query_file, query_file_scalar};

use crate::{audit::usage::percentile, error::StoreError, pool::Reader, wire};

/// How long one point of a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Kept for two days.
    Minute,
    /// Kept for four hundred days.
    Hour,
    /// Made of hours; days of UTC.
    Day,
}

impl Step {
    /// Its length.
    pub const fn length(self) -> Duration {
        match self {
            Self::Minute => Duration::from_mins(1),
            Self::Hour => Duration::from_hours(1),
            Self::Day => Duration::from_hours(24),
        }
    }

    const fn grain(self) -> &'static str {
        match self {
            Self::Minute => "m",
            Self::Hour | Self::Day => "h",
        }
    }
}

/// Whose usage, and when.
#[derive(Debug, Clone)]
pub struct UsageFilter {
    /// Only this key.
    pub key_id: Option<KeyId>,
    /// Only keys of this application, by name.
    pub application: Option<String>,
    /// Only on this route.
    pub route: Option<String>,
    /// Not before this instant.
    pub since: UtcMicros,
    /// Before this instant.
    pub until: UtcMicros,
    /// How long one point is.
    pub step: Step,
}

/// One point of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Point {
    /// When it begins.
    pub at: UtcMicros,
    /// Requests of callers who were known.
    pub requests: u64,
    /// Those that the gateway refused.
    pub denied: u64,
    /// Those that were answered with 4xx.
    pub client_errors: u64,
    /// Those that were answered with 5xx.
    pub server_errors: u64,
    /// Those that came with the secret before the last roll.
    pub old_secret: u64,
    /// Bytes of request bodies.
    pub request_bytes: u64,
    /// Bytes of response bodies.
    pub response_bytes: u64,
    /// Half of them were decided within this, in microseconds.
    pub p50_us: Option<u64>,
    /// 95 of 100 were.
    pub p95_us: Option<u64>,
}

/// What all points of a series come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// Requests of callers who were known.
    pub requests: u64,
    /// Those that were answered with 4xx or 5xx, by the gateway (what it refuses) or by the service.
    pub errors: u64,
    /// Half of them were decided within this, in microseconds.
    pub p50_us: Option<u64>,
    /// 95 of 100 were.
    pub p95_us: Option<u64>,
}

/// Whose requests a quota counts, and on which routes.
#[derive(Debug, Clone)]
pub struct Counted<'a> {
    /// Only this key's.
    pub key_id: Option<KeyId>,
    /// Only those of this application, by name.
    pub application: Option<&'a str>,
    /// Only those of this consumer, by name.
    pub consumer: Option<&'a str>,
    /// The routes that charge it.
    pub routes: &'a [String],
}

/// When a key was used last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastUse {
    /// When, to the minute.
    pub at: UtcMicros,
    /// In which region.
    pub region: Option<String>,
    /// The name of the client's program.
    pub client: Option<String>,
}

/// The points at which there was any use, oldest first.
///
/// # Errors
/// [`StoreError`].
pub async fn series(reader: &impl Reader, filter: &UsageFilter) -> Result<Vec<Point>, StoreError> {
    let step = PgInterval::try_from(filter.step.length()).map_err(|_| StoreError::invalid("a step is out of range"))?;
    let rows = query_file!(
        "queries/key_usage/series.sql",
        filter.step.grain(),
        wire::instant(filter.since)?,
        wire::instant(filter.until)?,
        filter.key_id.as_ref().map(KeyId::as_str),
        filter.application.as_deref(),
        filter.route.as_deref(),
        step
    )
    .fetch_all(reader.reader_pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Point {
                at: UtcMicros::from_datetime(row.at),
                requests: wire::count(row.requests, "usage")?,
                denied: wire::count(row.denied, "usage")?,
                client_errors: wire::count(row.client_errors, "usage")?,
                server_errors: wire::count(row.server_errors, "usage")?,
                old_secret: wire::count(row.old_secret, "usage")?,
                request_bytes: wire::count(row.request_bytes, "usage")?,
                response_bytes: wire::count(row.response_bytes, "usage")?,
                p50_us: percentile(&row.latency, 50),
                p95_us: percentile(&row.latency, 95),
            })
        })
        .collect()
}

/// What a filter's requests come to, all together.
///
/// # Errors
/// [`StoreError`].
pub async fn total(reader: &impl Reader, filter: &UsageFilter) -> Result<Total, StoreError> {
    let row = query_file!(
        "queries/key_usage/total.sql",
        filter.step.grain(),
        wire::instant(filter.since)?,
        wire::instant(filter.until)?,
        filter.key_id.as_ref().map(KeyId::as_str),
        filter.application.as_deref(),
        filter.route.as_deref()
    )
    .fetch_one(reader.reader_pool())
    .await?;
    let latency = row.latency.unwrap_or_default();
    Ok(Total {
        requests: wire::count(row.requests, "usage")?,
        errors: wire::count(row.client_errors + row.server_errors, "usage")?,
        p50_us: percentile(&latency, 50),
        p95_us: percentile(&latency, 95),
    })
}

/// How many requests limits have let through since an instant, as far as they are loaded: to the minute for a day, to the hour before.
///
/// # Errors
/// [`StoreError`].
pub async fn admitted(reader: &impl Reader, counted: &Counted<'_>, since: UtcMicros, step: Step) -> Result<u64, StoreError> {
    let rows = query_file_scalar!(
        "queries/key_usage/admitted.sql",
        step.grain(),
        wire::instant(since)?,
        counted.key_id.as_ref().map(KeyId::as_str),
        counted.application,
        counted.consumer,
        counted.routes
    );
    wire::count(rows.fetch_one(reader.reader_pool()).await?, "usage")
}

/// When a key was used last; `None` when it never was.
///
/// # Errors
/// [`StoreError`].
pub async fn last_use(reader: &impl Reader, id: &KeyId) -> Result<Option<LastUse>, StoreError> {
    let row = query_file!("queries/key_use/find.sql", id.as_str()).fetch_optional(reader.reader_pool()).await?;
    Ok(row.map(|row| LastUse { at: UtcMicros::from_datetime(row.at), region: row.region, client: row.client }))
}

/// How many requests came with the secret before the last roll in the last half minute, as far as they are loaded.
///
/// # Errors
/// [`StoreError`].
pub async fn old_secret_requests(reader: &impl Reader, id: &KeyId) -> Result<u64, StoreError> {
    wire::count(query_file_scalar!("queries/key_usage/old_secret.sql", id.as_str()).fetch_one(reader.reader_pool()).await?, "usage")
}
