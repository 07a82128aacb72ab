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
    extract::{Columns, Extract},
    usage::{self, Tally},
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
    tally: Tally,
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
        rows: impl Iterator<Item = Row<'_>> + Clone + Send,
        chain: [u8; 32],
    ) -> Result<u64, LoadError> {
        let mut last = None;
        for (expected, row) in (from_seq..).zip(rows.clone()) {
            if row.seq != expected || row.incarnation != incarnation {
                return Err(LoadError::Gap { seq: row.seq, expected_after: expected.saturating_sub(1) });
            }
            last = Some(row.seq);
        }
        let Some(last) = last else {
            return Ok(watermark(primary, node, incarnation).await?.seq);
        };
        let part = Part { place: Place { node, incarnation }, extent: Extent { first: from_seq, last, chain } };
        // Taken out, so that an error or a dropped future leaves nothing to be believed.
        let remembered = self.calendar.take().and_then(Calendar::once_more);
        if let Some(calendar) = remembered {
            match self.attempt(primary, &part, rows.clone(), &calendar).await {
                Ok(loaded) => {
                    self.calendar = Some(calendar);
                    return Ok(loaded);
                }
                Err(Stop::Uncovered) => {}
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
        let calendar = Calendar::prepare(primary, rows.clone()).await?;
        match self.attempt(primary, &part, rows, &calendar).await {
            Ok(loaded) => {
                self.calendar = Some(calendar.remembered());
                Ok(loaded)
            }
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Uncovered) => Err(LoadError::Store(wire::corrupt("audit calendar", "it does not cover what it was made for"))),
        }
    }

    async fn attempt(
        &mut self,
        primary: &Primary,
        part: &Part<'_>,
        rows: impl Iterator<Item = Row<'_>> + Send,
        calendar: &Calendar,
    ) -> Result<u64, Stop> {
        let mut held = Held { connection: primary.pool().acquire().await.map_err(StoreError::from)?, is_settled: false };
        self.tally.clear();
        let loaded = load_on(&mut held.connection, part, rows, calendar, &mut self.buffer, &mut self.tally).await;
        held.is_settled = loaded.is_ok();
        loaded
    }
}

/// Why a load did not come to its end.
#[derive(Debug)]
enum Stop {
    /// An event needs a day that the calendar does not have.
    Uncovered,
    Failed(LoadError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
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

/// What one transaction loads.
#[derive(Debug)]
struct Part<'p> {
    place: Place<'p>,
    extent: Extent,
}

async fn load_on(
    connection: &mut PgConnection,
    Part { place, extent }: &Part<'_>,
    rows: impl Iterator<Item = Row<'_>> + Send,
    calendar: &Calendar,
    buffer: &mut CopyBuffer,
    tally: &mut Tally,
) -> Result<u64, Stop> {
    let mut tx = connection.begin().await?;
    let before = lock(&mut tx, place).await?;
    if extent.last <= before.seq {
        tx.rollback().await?;
        return Ok(before.seq);
    }
    if extent.first > before.seq + 1 {
        return Err(Stop::Failed(LoadError::Gap { seq: extent.first, expected_after: before.seq }));
    }
    copy(&mut tx, place, rows.filter(|row| row.seq > before.seq), calendar, (buffer, tally)).await?;
    tally.write(&mut tx, place.node).await?;
    advance(&mut tx, place, (before.seq, extent.last), extent.chain).await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    tally.note_uses(connection).await;
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

/// Each row is read, encoded and forgotten before the next: they are many, and none is looked at twice.
async fn copy(
    connection: &mut PgConnection,
    place: &Place<'_>,
    rows: impl Iterator<Item = Row<'_>> + Send,
    calendar: &Calendar,
    (buffer, tally): (&mut CopyBuffer, &mut Tally),
) -> Result<(), Stop> {
    let incarnation = wire::bigint(place.incarnation)?;
    let mut copy = connection.copy_in_raw(include_str!("../../queries/audit_event/copy.sql")).await?;
    buffer.start();
    for row in rows {
        let event = Extract::of(row.event);
        let columns = event.columns();
        let Some(filed) = calendar.file(columns.at) else { return Err(Stop::Uncovered) };
        encode(buffer, place.node, incarnation, &row, &columns, filed)?;
        tally.count(&columns, row.event);
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
    /// The database's clock: the instant of events that do not say theirs. `None` when it was asked for other events.
    now: Option<UtcMicros>,
    /// How many more loads believe it.
    loads_left: u32,
}

impl Calendar {
    /// Makes the partitions that are missing, in a transaction of its own: it needs a short exclusive lock on the table.
    async fn prepare(primary: &Primary, rows: impl Iterator<Item = Row<'_>>) -> Result<Self, StoreError> {
        let wanted: BTreeSet<Day> = rows.filter_map(|row| Extract::of(row.event).at()).map(Day::of).collect();
        let dates: Vec<time::Date> = wanted.iter().filter_map(|day| day.to_date()).collect();
        let row = query_file!("queries/audit_event/partitions.sql", &dates).fetch_one(primary.pool()).await?;
        usage::trim(primary).await;
        let days = row.days.into_iter().map(Day::from_date).collect();
        Ok(Self { days, now: Some(UtcMicros::from_datetime(row.now)), loads_left: CALENDAR_LOADS })
    }

    /// For the loads that follow the one that it was made for.
    fn remembered(self) -> Self {
        Self { now: None, ..self }
    }

    fn once_more(self) -> Option<Self> {
        let loads_left = self.loads_left.checked_sub(1)?;
        Some(Self { loads_left, ..self })
    }

    /// `None` when the database has to be asked.
    fn file(&self, at: Option<UtcMicros>) -> Option<(Day, UtcMicros)> {
        match (at, self.now) {
            (Some(at), _) if self.days.contains(&Day::of(at)) => Some((Day::of(at), at)),
            (Some(at), Some(_)) => Some((Day::UNBELIEVED, at)),
            (None, Some(now)) => Some((Day::UNBELIEVED, now)),
            (_, None) => None,
        }
    }
}

/// One row as COPY takes it; the order of the columns is that of the statement.
fn encode(
    buffer: &mut CopyBuffer,
    node: &str,
    incarnation: i64,
    row: &Row<'_>,
    columns: &Columns<'_>,
    (day, at): (Day, UtcMicros),
) -> Result<(), StoreError> {
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
