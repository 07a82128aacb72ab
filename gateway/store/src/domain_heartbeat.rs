//! Heartbeats in the database of a fronted service, and reads of its primary that they confirm.
//!
//! As in the control domain ([`crate::heartbeat`]): what was read together with beat `k` is confirmed once `acked >= k + 2` is read over the
//! same connection. The table is the operator's to make, and the role may need a grant.

use std::time::Duration;

use model::position::{Lsn, Writer};
use sqlx::{
    ConnectOptions, PgConnection,
    postgres::{PgConnectOptions, PgDatabaseError},
    query_file, query_file_scalar,
};
use tokio::time::timeout;

use crate::{
    error::StoreError,
    heartbeat::{Beat, Beating, Heart, Under, beaten},
    pool::{self, AddressError, Credentials},
    wire,
};

/// How long a server has to answer over a connection that is there.
const WITHIN: Duration = Duration::from_secs(2);
/// How long it has when the connection must be made first: six round trips between two continents.
const OPEN_WITHIN: Duration = Duration::from_secs(3);

/// What a primary has shown over one connection, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The heartbeat.
    pub heart: Heart,
    /// Who writes.
    pub writer: Writer,
    /// How far its log was: everything that was acknowledged before the look began lies before, if the look is confirmed.
    pub lsn: Lsn,
}

/// There is no look.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The operator has not made the table yet, or somebody has altered what is in it.
    #[error("there is no table `causeway.heartbeat` with one row in it, as it was made")]
    Missing,
    /// The role may not read or write it.
    #[error("the role may not read and update `causeway.heartbeat`")]
    Denied,
    /// The server follows another one.
    #[error("the server is a standby")]
    Standby,
    /// Anything else.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One server of a domain; nothing is connected.
#[derive(Debug, Clone)]
pub struct Place {
    options: PgConnectOptions,
    address: Box<str>,
}

/// Prepares to look at the server at `host:port`.
///
/// # Errors
/// An address that is not `host:port`.
pub fn place_of(address: &str, credentials: &Credentials) -> Result<Place, AddressError> {
    Ok(Place { options: pool::options(address, credentials)?, address: address.into() })
}

/// A connection to a primary for nothing but this. What was seen over another one is not confirmed by it.
#[derive(Debug)]
pub struct Line {
    connection: PgConnection,
    address: Box<str>,
}

impl Line {
    /// Connects.
    ///
    /// # Errors
    /// [`StoreError`], also when it takes longer than 3 s.
    pub async fn open(place: &Place) -> Result<Self, StoreError> {
        let connecting = timeout(OPEN_WITHIN, place.options.connect());
        let connection = connecting.await.map_err(|_| StoreError::unavailable("a service's database does not answer"))??;
        Ok(Self { connection, address: place.address.clone() })
    }

    /// Reads the heartbeat, and how far the log is.
    ///
    /// # Errors
    /// [`LookError`], also when there is no answer within 2 s. Drop the line then.
    ///
    /// # Cancel
    /// Drop the line.
    pub async fn look(&mut self) -> Result<Look, LookError> {
        let asked = timeout(WITHIN, query_file!("queries/domain_heartbeat/look.sql").fetch_optional(&mut self.connection));
        let asked = asked.await.map_err(|_| StoreError::unavailable("a service's primary does not answer"))?;
        let row = asked.map_err(refused)?.ok_or(LookError::Missing)?;
        if !row.may_beat {
            return Err(LookError::Denied);
        }
        // Somebody has set it back: as it stands, it would confirm everything.
        if row.acked > row.beat {
            return Err(LookError::Missing);
        }
        let (Some(lsn), Some(timeline)) = (row.lsn, row.timeline) else { return Err(LookError::Standby) };
        let timeline = u32::try_from(timeline).map_err(|_| wire::corrupt("timeline", "a negative number"))?;
        Ok(Look {
            heart: Heart {
                beat: wire::count(row.beat, "heartbeat")?,
                acked: wire::count(row.acked, "heartbeat")?,
                writer: row.writer,
                writer_rtt_us: wire::count(row.writer_rtt_us, "round trip")?,
                standbys: row.standbys,
                under: Under { started_at: row.started_at, settings_at: row.settings_at },
            },
            writer: Writer { system_identifier: row.system_identifier.cast_unsigned(), timeline, server: self.address.clone() },
            lsn: Lsn(wire::count(lsn, "position")?),
        })
    }
}

impl Beating for Line {
    async fn beat(&mut self, seen: u64, acked: u64, writer: &str, rtt_us: u64) -> Result<Option<Beat>, StoreError> {
        let (seen, acked, rtt_us) = (wire::bigint(seen)?, wire::bigint(acked)?, wire::bigint(rtt_us)?);
        beaten(query_file_scalar!("queries/domain_heartbeat/beat.sql", acked, writer, rtt_us, seen).fetch_optional(&mut self.connection)).await
    }
}

/// What the operator has to do, where it is that.
fn refused(error: sqlx::Error) -> LookError {
    let code = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()).map(PgDatabaseError::code);
    match code {
        // undefined_table, invalid_schema_name, undefined_column
        Some("42P01" | "3F000" | "42703") => LookError::Missing,
        // insufficient_privilege
        Some("42501") => LookError::Denied,
        _ => StoreError::from(error).into(),
    }
}
