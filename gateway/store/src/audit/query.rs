//! Searching the log, newest first.

use model::time::UtcMicros;
use sqlx::query_file;

use super::{AuditFilter, AuditItem};
use crate::{
    error::StoreError,
    page::{Page, PageRequest, foreign},
    pool::Reader,
    wire,
};

/// Events, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn query(reader: &impl Reader, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditItem>, StoreError> {
    let place = page.place()?;
    let (incarnation, seq, node) = match &place {
        Some(place) => split(&place.rest).map(|(incarnation, seq, node)| (Some(incarnation), Some(seq), Some(node)))?,
        None => (None, None, None),
    };
    let rows = query_file!(
        "queries/audit_event/query.sql",
        filter.tenant.as_deref(),
        filter.consumer.as_deref(),
        filter.key_id.as_deref(),
        filter.request_id.as_deref(),
        filter.route.as_deref(),
        filter.method.as_deref(),
        filter.action.as_deref(),
        filter.decision.as_deref(),
        filter.class.as_deref(),
        filter.phase.as_deref(),
        filter.region.as_deref(),
        filter.status_min.map(smallint),
        filter.status_max.map(smallint),
        filter.since.map(wire::instant).transpose()?,
        filter.until.map(wire::instant).transpose()?,
        place.as_ref().map(|place| place.at),
        node,
        incarnation,
        seq,
        page.rows()
    )
    .fetch_all(reader.reader_pool())
    .await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(AuditItem {
            node: row.node,
            incarnation: wire::count(row.incarnation, "incarnation")?,
            seq: wire::count(row.seq, "sequence number")?,
            at: UtcMicros::from_datetime(row.at),
            event: serde_json::from_slice(&row.event).ok(),
        });
    }
    Ok(Page::cut(page, items, |item| (item.at, format!("{}.{}.{}", item.incarnation, item.seq, item.node))))
}

/// A status for a parameter: those above 32,767 do not exist.
fn smallint(status: u16) -> i16 {
    i16::try_from(status).unwrap_or(i16::MAX)
}

/// The node comes last: its name may contain anything.
fn split(rest: &str) -> Result<(i64, i64, &str), StoreError> {
    let mut parts = rest.splitn(3, '.');
    let mut number = || parts.next().and_then(|text| text.parse::<i64>().ok());
    let (incarnation, seq) = (number(), number());
    match (incarnation, seq, parts.next()) {
        (Some(incarnation), Some(seq), Some(node)) => Ok((incarnation, seq, node)),
        _ => Err(foreign()),
    }
}
