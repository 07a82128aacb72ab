//! The epochs of fronted databases: every primary that was seen writes one, and says as far as it can be proved what it has of another.
//!
//! They stand in the control database, because a fronted one is not ours to write to, and because what is forked must not count its forks
//! (ADR 0030, 10). Rows are only ever added.

use std::{collections::HashMap, time::Duration};

use model::{
    position::{Epoch, Epochs, Fork, Found, Lsn, Writer},
    time::UtcMicros,
};
use sqlx::{query_file, query_file_as, query_file_scalar};
use tokio::time::timeout;

use crate::{
    actor::{Actor, ActorKind},
    commit,
    error::StoreError,
    pool::{Primary, Reader},
    wire,
    write::{ControlWrite, Lanes},
};

/// How long beginning an epoch may take: its commit waits for a standby, and nothing on the server ends that.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);
/// The most epochs of a domain. One with more has a primary that flaps, and every node keeps them all.
const EPOCHS_MAX: usize = 10_000;

/// All epochs of all domains, as this server has them. A domain that no epoch was begun for is not among them.
///
/// # Errors
/// [`StoreError`].
pub async fn epochs(reader: &impl Reader) -> Result<HashMap<Box<str>, Epochs>, StoreError> {
    let rows = query_file!("queries/domain_epoch/all.sql").fetch_all(reader.reader_pool()).await?;
    let mut domains: HashMap<Box<str>, Vec<Epoch>> = HashMap::new();
    for row in rows {
        let epoch = Row {
            number: row.number,
            parent: row.parent,
            fork_lsn: row.fork_lsn,
            system_identifier: row.system_identifier,
            timeline: row.timeline,
            server: row.server,
        };
        domains.entry(row.domain.into()).or_default().push(epoch.into_epoch()?);
    }
    Ok(domains.into_iter().map(|(domain, epochs)| (domain, Epochs::new(epochs))).collect())
}

/// Begins an epoch of a domain for a primary that goes on with none (see [`Epochs::goes_on`]), unless another node has done it meanwhile;
/// returns all epochs of the domain. Of nodes that do this at once, one begins an epoch and the others find it. What is returned has waited
/// for the standbys of the control database.
///
/// # Errors
/// [`StoreError::Unavailable`] also when it takes longer than 10 s: it was begun or not, and asking again finds out.
/// [`StoreError::CommitUnconfirmed`] when it was begun, and no standby has confirmed it.
/// [`StoreError::Conflict`] `domain_epoch_count` beyond 10,000 epochs; [`StoreError::Invalid`] for a name or a number that has no place.
///
/// # Cancel
/// It was begun or not.
pub async fn settle(primary: &Primary, domain: &str, found: &Found, begun_by: &str) -> Result<Epochs, StoreError> {
    let settled = timeout(SETTLE_WITHIN, settle_once(primary, domain, found, begun_by)).await;
    settled.map_err(|_| StoreError::unavailable("an epoch takes too long to begin"))?
}

async fn settle_once(primary: &Primary, domain: &str, found: &Found, begun_by: &str) -> Result<Epochs, StoreError> {
    let actor = Actor { kind: ActorKind::System, name: begun_by.to_owned() };
    // The lock on the head lets one go after the other, and a control database that was replaced as primary is not written to.
    let mut write = ControlWrite::begin(primary, Lanes::Authority, &actor).await?;
    let rows = query_file_as!(Row, "queries/domain_epoch/of_domain.sql", domain).fetch_all(&mut *write.tx).await?;
    let mut epochs = rows.into_iter().map(Row::into_epoch).collect::<Result<Vec<_>, _>>()?;
    let known = Epochs::new(epochs.clone());
    if known.goes_on(found).is_some() {
        write.rollback().await?;
        // Whoever began it may have been cut short while it waited for its standby (T6).
        commit::barrier(primary).await?;
        return Ok(known);
    }
    if epochs.len() >= EPOCHS_MAX {
        return Err(StoreError::conflict("domain_epoch_count", format!("the domain `{domain}` has {EPOCHS_MAX} epochs, and may have no more")));
    }
    let now = query_file_scalar!("queries/domain_epoch/now.sql").fetch_one(&mut *write.tx).await?;
    let begun = known.begin(found, UtcMicros::from_datetime(now));
    query_file!(
        "queries/domain_epoch/insert.sql",
        domain,
        integer(begun.number)?,
        begun.fork.map(|fork| integer(fork.parent)).transpose()?,
        begun.fork.map(|fork| wire::bigint(fork.at.0)).transpose()?,
        begun.writer.system_identifier.cast_signed(),
        integer(begun.writer.timeline)?,
        &*begun.writer.server,
        begun_by
    )
    .execute(&mut *write.tx)
    .await?;
    write.commit().await?;
    epochs.push(begun);
    Ok(Epochs::new(epochs))
}

fn integer(value: u32) -> Result<i32, StoreError> {
    i32::try_from(value).map_err(|_| StoreError::invalid("a number is above 2^31"))
}

/// A row of `domain_epoch`.
#[derive(Debug)]
struct Row {
    number: i32,
    parent: Option<i32>,
    fork_lsn: Option<i64>,
    system_identifier: i64,
    timeline: i32,
    server: String,
}

impl Row {
    fn into_epoch(self) -> Result<Epoch, StoreError> {
        let number = |value: i32, what| u32::try_from(value).map_err(|_| wire::corrupt(what, "a negative number"));
        let fork = match (self.parent, self.fork_lsn) {
            (Some(parent), Some(at)) => Some(Fork { parent: number(parent, "parent epoch")?, at: Lsn(wire::count(at, "fork")?) }),
            _ => None,
        };
        let writer = Writer {
            system_identifier: self.system_identifier.cast_unsigned(),
            timeline: number(self.timeline, "timeline")?,
            server: self.server.into(),
        };
        Ok(Epoch { number: number(self.number, "epoch")?, writer, fork })
    }
}
