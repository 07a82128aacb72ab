//! Loading, exactly once.
//!
//! The watermark's row is the lock. Under it the rows that follow the watermark are copied straight into their partitions
//! and the watermark is set, in one transaction: whoever calls again, at the same time or after a commit whose outcome is
//! unknown, finds the watermark where it is and skips what is there.

use std::collections::BTreeSet;

use ::audit::reader::Row;
use model::time::UtcMicros;
use sqlx::{Connection, PgConnection, Postgres, pool::PoolConnection, query_file};

use super::{
    LoadError, Watermark,
    copy::{CopyBuffer, Day},
    extract::Fields,
};
use crate::{
    error::StoreError,
    pool::{Pooled, Primary},
    wire,
};

/// How far the log of this incarnation is loaded; nothing when it is unknown.
///
/// # Errors
/// [`StoreError`].
pub async fn watermark(primary: &Primary, node: &str, incarnation: u64) -> Result<Watermark, StoreError> {
    let row = query_file!("queries/audit_watermark/find.sql", node, wire::bigint(incarnation)?).fetch_optional(primary.reader_pool()).await?;
    row.map_or(Ok(Watermark { seq: 0, chain: [0; 32] }), |row| read_watermark(row.seq, row.chain_hash))
}

fn read_watermark(seq: i64, chain: Vec<u8>) -> Result<Watermark, StoreError> {
    let chain = chain.try_into().map_err(|_| wire::corrupt("chain hash", "it has not 32 bytes"))?;
    Ok(Watermark { seq: wire::count(seq, "watermark")?, chain })
}

/// Loads consecutive rows that begin with number `from_seq`; `chain` is the chain hash that goes with the last of them.
/// Rows at or below the watermark are passed over. Returns the watermark afterwards.
///
/// A row whose bytes are no event is stored all the same, with nothing in the search columns: none is ever dropped.
///
/// # Errors
/// [`LoadError::Gap`] when a row would leave a hole; [`LoadError::Store`]. After [`StoreError::CommitUnknown`] calling again
/// with the same rows is safe.
pub async fn load(primary: &Primary, node: &str, incarnation: u64, from_seq: u64, rows: &[Row], chain: [u8; 32]) -> Result<u64, LoadError> {
    for (expected, row) in (from_seq..).zip(rows) {
        if row.seq != expected || row.incarnation != incarnation {
            return Err(LoadError::Gap { seq: row.seq, expected_after: expected.saturating_sub(1) });
        }
    }
    let Some(last) = rows.last() else {
        return Ok(watermark(primary, node, incarnation).await?.seq);
    };
    let events: Vec<Fields<'_>> = rows.iter().map(|row| Fields::read(&row.event)).collect();
    let calendar = Calendar::prepare(primary, &events).await?;

    let mut held = Held { connection: primary.pool().acquire().await.map_err(StoreError::from)?, is_settled: false };
    let place = Place { node, incarnation };
    let loaded = load_on(&mut held.connection, &place, rows.iter().zip(&events), &calendar, (from_seq, last.seq, chain)).await;
    held.is_settled = loaded.is_ok();
    loaded
}

/// A connection that goes back to the pool only once it is settled.
///
/// A COPY that is dropped halfway, with its future or with an error, leaves the driver and the server in different places:
/// the next user of the connection would read the answers to our statements.
#[derive(Debug)]
struct Held {
    connection: PoolConnection<Postgres>,
    is_settled: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_settled {
            self.connection.close_on_drop();
        }
    }
}

/// Whose log.
#[derive(Debug, Clone, Copy)]
struct Place<'p> {
    node: &'p str,
    incarnation: u64,
}

/// `extent`: the first and the last number of the rows, and the chain hash that goes with the last.
async fn load_on<'r>(
    connection: &mut PgConnection,
    place: &Place<'_>,
    rows: impl Iterator<Item = (&'r Row, &'r Fields<'r>)>,
    calendar: &Calendar,
    extent: (u64, u64, [u8; 32]),
) -> Result<u64, LoadError> {
    let (first, last, chain) = extent;
    let mut tx = connection.begin().await.map_err(StoreError::from)?;
    let before = lock(&mut tx, place).await?;
    if last <= before.seq {
        tx.rollback().await.map_err(StoreError::from)?;
        return Ok(before.seq);
    }
    if first > before.seq + 1 {
        return Err(LoadError::Gap { seq: first, expected_after: before.seq });
    }
    let data = encode(place, rows.filter(|(row, _)| row.seq > before.seq), calendar)?;
    copy(&mut tx, data).await?;
    advance(&mut tx, place, (before.seq, last), chain).await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    Ok(last)
}

/// Takes the lock; the row is made when this is the incarnation's first load.
async fn lock(connection: &mut PgConnection, place: &Place<'_>) -> Result<Watermark, StoreError> {
    let incarnation = wire::bigint(place.incarnation)?;
    query_file!("queries/audit_watermark/start.sql", place.node, incarnation, [0_u8; 32].as_slice()).execute(&mut *connection).await?;
    let row = query_file!("queries/audit_watermark/lock.sql", place.node, incarnation).fetch_one(connection).await?;
    read_watermark(row.seq, row.chain_hash)
}

async fn advance(connection: &mut PgConnection, place: &Place<'_>, (before, after): (u64, u64), chain: [u8; 32]) -> Result<(), StoreError> {
    let (incarnation, before, after) = (wire::bigint(place.incarnation)?, wire::bigint(before)?, wire::bigint(after)?);
    let set =
        query_file!("queries/audit_watermark/advance.sql", place.node, incarnation, before, after, chain.as_slice()).execute(connection).await?;
    if set.rows_affected() == 1 { Ok(()) } else { Err(wire::corrupt("audit watermark", "it moved under its lock")) }
}

async fn copy(connection: &mut PgConnection, data: Vec<u8>) -> Result<(), StoreError> {
    let mut copy = connection.copy_in_raw(include_str!("../../queries/audit_event/copy.sql")).await?;
    copy.send(data).await?;
    copy.finish().await?;
    Ok(())
}

/// Which day each event is filed under.
#[derive(Debug)]
struct Calendar {
    /// Days that have a partition.
    days: BTreeSet<Day>,
    /// The database's clock: the instant of events that do not say theirs.
    now: UtcMicros,
}

impl Calendar {
    /// Makes the partitions that are missing, in a transaction of its own: it needs a short exclusive lock on the table.
    async fn prepare(primary: &Primary, events: &[Fields<'_>]) -> Result<Self, StoreError> {
        let wanted: BTreeSet<Day> = events.iter().filter_map(Fields::at).map(Day::of).collect();
        let dates: Vec<time::Date> = wanted.iter().filter_map(|day| day.to_date()).collect();
        let row = query_file!("queries/audit_event/partitions.sql", &dates).fetch_one(primary.pool()).await?;
        Ok(Self { days: row.days.into_iter().map(Day::from_date).collect(), now: UtcMicros::from_datetime(row.now) })
    }

    fn file(&self, event: &Fields<'_>) -> (Day, UtcMicros) {
        match event.at() {
            Some(at) if self.days.contains(&Day::of(at)) => (Day::of(at), at),
            Some(at) => (Day::UNBELIEVED, at),
            None => (Day::UNBELIEVED, self.now),
        }
    }
}

/// The rows as COPY takes them; the order of the columns is that of the statement.
fn encode<'r>(place: &Place<'_>, rows: impl Iterator<Item = (&'r Row, &'r Fields<'r>)>, calendar: &Calendar) -> Result<Vec<u8>, StoreError> {
    let incarnation = wire::bigint(place.incarnation)?;
    let mut buffer = CopyBuffer::new();
    for (row, event) in rows {
        let (day, at) = calendar.file(event);
        let texts = event.texts();
        buffer.row();
        buffer.bytes(place.node.as_bytes());
        buffer.bigint(incarnation);
        buffer.bigint(wire::bigint(row.seq)?);
        buffer.day(day);
        buffer.instant(at);
        buffer.optional(event.event_id.as_ref().map(|id| id.as_bytes().as_slice()));
        buffer.texts(&texts.kind);
        buffer.bytes(&row.salt);
        buffer.bytes(&row.event);
        buffer.texts(&texts.who);
        buffer.optional(event.status().map(i16::to_be_bytes).as_ref().map(<[u8; 2]>::as_slice));
        buffer.texts(&texts.what);
    }
    Ok(buffer.finish())
}
