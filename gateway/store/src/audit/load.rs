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
    extract::Extract,
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

/// For how many loads the days that have a partition are remembered, about ten seconds under load. Whoever drops partitions does it
/// for days long past; a database that was lost and replaced by one that lags may lack today's, which an error of the load before
/// usually tells.
const CALENDAR_LOADS: u32 = 100;

/// Brings rows into the database, and keeps its memory from one load to the next.
#[derive(Debug, Default)]
pub struct Loader {
    calendar: Option<Calendar>,
    buffer: CopyBuffer,
}

impl Loader {
    /// Loads consecutive rows that begin with number `from_seq`; `chain` is the chain hash that goes with the last of them.
    /// Rows at or below the watermark are passed over. Returns the watermark afterwards.
    ///
    /// A row whose bytes are no event is stored all the same, with nothing in the search columns: none is ever dropped.
    ///
    /// # Errors
    /// [`LoadError::Gap`] when a row would leave a hole; [`LoadError::Store`]. After [`StoreError::CommitUnknown`] calling
    /// again with the same rows is safe.
    pub async fn load(
        &mut self,
        primary: &Primary,
        node: &str,
        incarnation: u64,
        from_seq: u64,
        rows: &[Row<'_>],
        chain: [u8; 32],
    ) -> Result<u64, LoadError> {
        let mut events = Vec::with_capacity(rows.len());
        for (expected, row) in (from_seq..).zip(rows) {
            if row.seq != expected || row.incarnation != incarnation {
                return Err(LoadError::Gap { seq: row.seq, expected_after: expected.saturating_sub(1) });
            }
            events.push(Extract::of(row.event));
        }
        let Some(last) = rows.last() else {
            return Ok(watermark(primary, node, incarnation).await?.seq);
        };
        // Taken out, so that an error or a dropped future leaves nothing to be believed.
        let calendar = match self.calendar.take().filter(|calendar| calendar.covers(&events)) {
            Some(calendar) => Calendar { loads_left: calendar.loads_left - 1, ..calendar },
            None => Calendar::prepare(primary, &events).await?,
        };
        let mut held = Held { connection: primary.pool().acquire().await.map_err(StoreError::from)?, is_settled: false };
        let place = Place { node, incarnation };
        let extent = Extent { first: from_seq, last: last.seq, chain };
        let loaded = load_on(&mut held.connection, &place, rows.iter().zip(&events), (&calendar, &mut self.buffer), &extent).await;
        held.is_settled = loaded.is_ok();
        self.calendar = loaded.is_ok().then_some(calendar);
        loaded
    }
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

/// The first and the last number of the rows, and the chain hash that goes with the last.
#[derive(Debug, Clone, Copy)]
struct Extent {
    first: u64,
    last: u64,
    chain: [u8; 32],
}

async fn load_on<'r>(
    connection: &mut PgConnection,
    place: &Place<'_>,
    rows: impl Iterator<Item = (&'r Row<'r>, &'r Extract<'r>)>,
    (calendar, buffer): (&Calendar, &mut CopyBuffer),
    extent: &Extent,
) -> Result<u64, LoadError> {
    let mut tx = connection.begin().await.map_err(StoreError::from)?;
    let before = lock(&mut tx, place).await?;
    if extent.last <= before.seq {
        tx.rollback().await.map_err(StoreError::from)?;
        return Ok(before.seq);
    }
    if extent.first > before.seq + 1 {
        return Err(LoadError::Gap { seq: extent.first, expected_after: before.seq });
    }
    copy(&mut tx, place, rows.filter(|(row, _)| row.seq > before.seq), calendar, buffer).await?;
    advance(&mut tx, place, (before.seq, extent.last), extent.chain).await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    Ok(extent.last)
}

/// Takes the lock; the row is made when this is the incarnation's first load.
async fn lock(connection: &mut PgConnection, place: &Place<'_>) -> Result<Watermark, StoreError> {
    let incarnation = wire::bigint(place.incarnation)?;
    let row = query_file!("queries/audit_watermark/lock.sql", place.node, incarnation).fetch_optional(&mut *connection).await?;
    if let Some(row) = row {
        return read_watermark(row.seq, row.chain_hash);
    }
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

async fn copy<'r>(
    connection: &mut PgConnection,
    place: &Place<'_>,
    rows: impl Iterator<Item = (&'r Row<'r>, &'r Extract<'r>)>,
    calendar: &Calendar,
    buffer: &mut CopyBuffer,
) -> Result<(), StoreError> {
    let incarnation = wire::bigint(place.incarnation)?;
    let mut copy = connection.copy_in_raw(include_str!("../../queries/audit_event/copy.sql")).await?;
    buffer.start();
    for (row, event) in rows {
        encode(buffer, place.node, incarnation, row, event, calendar)?;
        if buffer.is_full() {
            copy.send(buffer.piece()).await?;
            buffer.sent();
        }
    }
    buffer.end();
    copy.send(buffer.piece()).await?;
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
    /// How many more loads believe it.
    loads_left: u32,
}

impl Calendar {
    /// Makes the partitions that are missing, in a transaction of its own: it needs a short exclusive lock on the table.
    async fn prepare(primary: &Primary, events: &[Extract<'_>]) -> Result<Self, StoreError> {
        let wanted: BTreeSet<Day> = events.iter().filter_map(Extract::at).map(Day::of).collect();
        let dates: Vec<time::Date> = wanted.iter().filter_map(|day| day.to_date()).collect();
        let row = query_file!("queries/audit_event/partitions.sql", &dates).fetch_one(primary.pool()).await?;
        let days = row.days.into_iter().map(Day::from_date).collect();
        Ok(Self { days, now: UtcMicros::from_datetime(row.now), loads_left: CALENDAR_LOADS })
    }

    /// Whether nothing needs to be asked for these events: each has an instant, and its day a partition.
    fn covers(&self, events: &[Extract<'_>]) -> bool {
        let has_day = |event: &Extract<'_>| event.at().is_some_and(|at| self.days.contains(&Day::of(at)));
        self.loads_left > 0 && events.iter().all(has_day)
    }

    fn file(&self, at: Option<UtcMicros>) -> (Day, UtcMicros) {
        match at {
            Some(at) if self.days.contains(&Day::of(at)) => (Day::of(at), at),
            Some(at) => (Day::UNBELIEVED, at),
            None => (Day::UNBELIEVED, self.now),
        }
    }
}

/// One row as COPY takes it; the order of the columns is that of the statement.
fn encode(buffer: &mut CopyBuffer, node: &str, incarnation: i64, row: &Row<'_>, event: &Extract<'_>, calendar: &Calendar) -> Result<(), StoreError> {
    let columns = event.columns();
    let (day, at) = calendar.file(columns.at);
    buffer.row();
    buffer.bytes(node.as_bytes());
    buffer.bigint(incarnation);
    buffer.bigint(wire::bigint(row.seq)?);
    buffer.day(day);
    buffer.instant(at);
    buffer.optional(columns.event_id.as_ref().map(|id| id.as_bytes().as_slice()));
    buffer.texts(columns.kind());
    buffer.bytes(row.salt);
    buffer.bytes(row.event);
    buffer.texts(columns.who());
    buffer.optional(columns.status.map(i16::to_be_bytes).as_ref().map(<[u8; 2]>::as_slice));
    buffer.texts(columns.what());
    Ok(())
}
