//! Asking one server what it is, over a connection that serves nothing else.

use std::time::Duration;

use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions, query_file};
use tokio::time::{Instant, timeout};

/// How long a server has to answer over a connection that is there.
const DEADLINE: Duration = Duration::from_secs(1);
/// How long it has when the connection must be made first: TCP, the start-up, SCRAM and a prepared question are six round trips, which
/// take 1.8 s at 300 ms, the way between two continents and back.
const FIRST_DEADLINE: Duration = Duration::from_secs(3);

/// What a server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) in_recovery: bool,
    /// Bytes of the log: written on a primary, replayed on a standby.
    pub(crate) lsn: Option<u64>,
    /// Only a primary's: the one that it writes.
    pub(crate) timeline: Option<u32>,
    pub(crate) system_identifier: u64,
    pub(crate) rtt_us: u64,
}

/// One server and the connection to it. A sample is worth something only while its connection lives (T11).
#[derive(Debug)]
pub(crate) struct Probe {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl Probe {
    pub(crate) fn new(options: PgConnectOptions) -> Self {
        Self { options, connection: None }
    }

    /// Asks once; `None` when there is no answer within [`DEADLINE`], or within [`FIRST_DEADLINE`] over a new connection.
    ///
    /// # Cancel
    /// The connection is dropped with the future when it was in use, and made anew the next time.
    pub(crate) async fn sample(&mut self) -> Option<Sample> {
        // Taken out, so that neither a failure nor a cancelled exchange leaves a connection in an unknown state.
        let held = self.connection.take();
        let deadline = if held.is_some() { DEADLINE } else { FIRST_DEADLINE };
        let (connection, sample) = timeout(deadline, ask(held, &self.options)).await.ok()?.ok()?;
        self.connection = Some(connection);
        Some(sample)
    }
}

async fn ask(held: Option<PgConnection>, options: &PgConnectOptions) -> Result<(PgConnection, Sample), sqlx::Error> {
    let mut connection = match held {
        Some(connection) => connection,
        None => options.connect().await?,
    };
    let began = Instant::now();
    let row = query_file!("queries/server/probe.sql").fetch_one(&mut connection).await?;
    let rtt_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let sample = Sample {
        in_recovery: row.in_recovery,
        lsn: row.lsn.and_then(|lsn| u64::try_from(lsn).ok()),
        timeline: row.timeline.and_then(|timeline| u32::try_from(timeline).ok()),
        system_identifier: row.system_identifier.cast_unsigned(),
        rtt_us,
    };
    Ok((connection, sample))
}

/// Which of the servers is the primary.
///
/// Only servers of one cluster count: the system identifier that most of those that answer have, `current`'s when equally
/// many have another. Among those that take writes the highest timeline wins: after a promotion the old primary may still
/// run. When two have the same one, nothing tells them apart; `current` stays if it is among them, else there is none.
pub(crate) fn choose_primary(samples: &[Option<Sample>], current: Option<usize>) -> Option<usize> {
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
