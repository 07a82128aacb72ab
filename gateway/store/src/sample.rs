//! Asking one server what it is and how far it is, over a connection that serves nothing else.

#[cfg(test)]
mod tests;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use model::{position::Lsn, time::UtcMicros};
use sqlx::{
    ConnectOptions, PgConnection,
    postgres::{PgConnectOptions, PgDatabaseError, PgSeverity},
    query_file, query_file_scalar,
};
use tokio::time::{Instant, timeout};

use crate::pool::{self, AddressError, Credentials};

/// How long a server has to answer over a connection that is there.
const DEADLINE: Duration = Duration::from_secs(1);
/// How long it has when the connection must be made first: TCP, the start-up, SCRAM and a prepared question are six round trips, which
/// take 1.8 s at 300 ms, the way between two continents and back.
const FIRST_DEADLINE: Duration = Duration::from_secs(3);
/// The longest history that is read: a promotion takes some 60 bytes of it, so that there is room for 4,000.
const HISTORY_BYTES_MAX: usize = 256 * 1024;

/// What a server said, at one moment.
///
/// As a position it is a lower bound, and only while its connection lives: a standby that restarts may answer from below (T11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// It follows another server: it takes no writes.
    pub in_recovery: bool,
    /// Bytes of the log: written on a primary, replayed on a standby.
    pub lsn: Option<u64>,
    /// Only a primary's: the one that it writes.
    pub timeline: Option<u32>,
    /// Only a standby's: the one that its WAL receiver receives, read *after* `lsn`, so that `lsn` is a place of its history. Absent without
    /// a receiver that streams, and where the role is no member of `pg_monitor`.
    pub followed_timeline: Option<u32>,
    /// The cluster's identity.
    pub system_identifier: u64,
    /// When the server was started, microseconds on its clock.
    pub started_at: i64,
    /// How long the question took, microseconds.
    pub rtt_us: u64,
    /// Which connection it came over, unique in this process.
    pub connection: u64,
}

/// One server and the connection to it. A sample is worth something only while its connection lives (T11).
#[derive(Debug)]
pub struct Probe {
    options: PgConnectOptions,
    held: Option<Held>,
}

/// A connection, and its number among all that this process has made for samples.
#[derive(Debug)]
struct Held {
    connection: PgConnection,
    number: u64,
}

/// Prepares to ask the server at `host:port`; nothing connects yet.
///
/// # Errors
/// An address that is not `host:port`.
pub fn probe_of(address: &str, credentials: &Credentials) -> Result<Probe, AddressError> {
    Ok(Probe::new(pool::options(address, credentials)?))
}

impl Probe {
    pub(crate) const fn new(options: PgConnectOptions) -> Self {
        Self { options, held: None }
    }

    /// Asks once; `None` when there is no answer within 1 s, or within 3 s over a new connection.
    ///
    /// # Cancel
    /// The connection is dropped with the future when it was in use, and made anew the next time.
    pub async fn sample(&mut self) -> Option<Sample> {
        // Taken out, so that neither a failure nor a cancelled exchange leaves a connection in an unknown state.
        let held = self.held.take();
        let deadline = if held.is_some() { DEADLINE } else { FIRST_DEADLINE };
        let (held, sample) = timeout(deadline, ask(held, &self.options)).await.ok()?.ok()?;
        self.held = Some(held);
        Some(sample)
    }

    /// The history of a timeline: each one before it, and where the next one left that. Asked over the connection of the last sample.
    ///
    /// `None` when there is no such connection, the role may not execute `pg_read_file(text)`, there is no such file, or it is not one that
    /// a server writes. None of that ends the connection; only silence, for 1 s, does. The first timeline has none before it.
    ///
    /// # Cancel
    /// As of [`Self::sample`].
    pub async fn history(&mut self, timeline: u32) -> Option<Vec<(u32, Lsn)>> {
        if timeline == 1 {
            return Some(Vec::new());
        }
        let mut held = self.held.take()?;
        let read = timeout(DEADLINE, read_history(&mut held.connection, timeline)).await.ok()?;
        let text = match read {
            Ok(text) => text,
            Err(error) if is_refusal(&error) => None,
            Err(_) => return None,
        };
        self.held = Some(held);
        parse_history(&text?, timeline)
    }
}

async fn ask(held: Option<Held>, options: &PgConnectOptions) -> Result<(Held, Sample), sqlx::Error> {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
    let mut held = match held {
        Some(held) => held,
        None => Held { connection: options.connect().await?, number: CONNECTIONS.fetch_add(1, Ordering::Relaxed) },
    };
    let began = Instant::now();
    let row = query_file!("queries/server/probe.sql").fetch_one(&mut held.connection).await?;
    let rtt_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let timeline = |timeline: Option<i32>| timeline.and_then(|timeline| u32::try_from(timeline).ok());
    let sample = Sample {
        in_recovery: row.in_recovery,
        lsn: row.lsn.and_then(|lsn| u64::try_from(lsn).ok()),
        timeline: timeline(row.timeline),
        followed_timeline: timeline(row.followed_timeline),
        system_identifier: row.system_identifier.cast_unsigned(),
        started_at: UtcMicros::from_datetime(row.started_at).0,
        rtt_us,
        connection: held.number,
    };
    Ok((held, sample))
}

async fn read_history(connection: &mut PgConnection, timeline: u32) -> Result<Option<String>, sqlx::Error> {
    if !query_file_scalar!("queries/server/may_read_history.sql").fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    let file = format!("pg_wal/{timeline:08X}.history");
    // One character more than is taken tells a longer file from one that ends there.
    let characters_max = i32::try_from(HISTORY_BYTES_MAX).unwrap_or(i32::MAX).saturating_add(1);
    query_file_scalar!("queries/server/history.sql", file, characters_max).fetch_one(connection).await
}

/// The server refused a statement, and goes on with the connection.
fn is_refusal(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    error.map(PgDatabaseError::severity) == Some(PgSeverity::Error)
}

/// Reads a history as a server writes it: a line for each earlier timeline, in rising order, with a tab behind the number and another one
/// behind the place; the reason that follows is free text. Empty lines and comments count for nothing; anything else refuses the whole.
fn parse_history(text: &str, timeline: u32) -> Option<Vec<(u32, Lsn)>> {
    if text.len() > HISTORY_BYTES_MAX {
        return None;
    }
    let mut earlier: Vec<(u32, Lsn)> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let mut fields = line.split('\t');
        let number = fields.next().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse::<u32>().ok()?;
        // Places are signed in a database, and no log comes so far.
        let at = Lsn::parse(fields.next()?).filter(|at| i64::try_from(at.0).is_ok())?;
        // The places need not rise: who was recovered to one before an earlier fork leaves the last timeline there.
        let is_after = earlier.last().map_or(0, |(before, _)| *before) < number;
        if !is_after || number >= timeline {
            return None;
        }
        earlier.push((number, at));
    }
    (!earlier.is_empty()).then_some(earlier)
}

/// Which of the servers is the primary.
///
/// Only servers of one cluster count: the system identifier that most of those that answer have, `current`'s when equally
/// many have another. Among those that take writes the highest timeline wins: after a promotion the old primary may still
/// run. When two have the same one, nothing tells them apart; `current` stays if it is among them, else there is none.
pub fn choose_primary(samples: &[Option<Sample>], current: Option<usize>) -> Option<usize> {
    let cluster = cluster_of(samples, current)?;
    let writers = || {
        samples
            .iter()
            .enumerate()
            .filter_map(|(index, sample)| sample.map(|sample| (index, sample)))
            .filter(|(_, sample)| !sample.in_recovery && sample.system_identifier == cluster)
    };
    let newest = writers().map(|(_, sample)| sample.timeline).max()?;
    let mut best = writers().filter(|(_, sample)| sample.timeline == newest).map(|(index, _)| index);
    match (best.next(), best.next()) {
        (Some(only), None) => Some(only),
        _ => current.filter(|current| writers().any(|(index, sample)| index == *current && sample.timeline == newest)),
    }
}

/// The system identifier that most of the servers that answer have.
pub(crate) fn cluster_of(samples: &[Option<Sample>], current: Option<usize>) -> Option<u64> {
    let identifiers = || samples.iter().flatten().map(|sample| sample.system_identifier);
    let of_current = current.and_then(|index| samples.get(index).copied().flatten()).map(|sample| sample.system_identifier);
    let votes = |id: u64| identifiers().filter(|other| *other == id).count();
    identifiers().max_by_key(|id| (votes(*id), Some(*id) == of_current, std::cmp::Reverse(*id)))
}
