//! The loader: brings this node's audit records into PostgreSQL, exactly once, oldest first.

use std::{collections::HashSet, sync::Arc, time::Duration};

use audit::{reader::Reader, spool::Spool};
use store::{
    audit::{self as log, LoadError, Watermark},
    pool::Primary,
    topology::Topology,
};

use crate::facts::Facts;

/// Records in one transaction: large enough for 20,000 a second, small enough to be over in tens of milliseconds.
const ROWS_MAX: usize = 2_000;

/// Loads for as long as the node runs. The database may be away for hours: records wait on disk.
pub async fn run(spool: Spool, node: Arc<str>, topology: Topology, facts: Arc<Facts>) {
    let mut reader = spool.reader();
    let mut confirmed = HashSet::new();
    let mut pulse = tokio::time::interval(Duration::from_millis(100));
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pulse.tick().await;
        let incarnations = reader.incarnations();
        let incarnations = match incarnations {
            Ok(incarnations) => incarnations,
            Err(error) => {
                facts.loader.lock().stuck = Some(format!("the spool cannot be read: {error}"));
                continue;
            }
        };
        // A gap in one incarnation must not keep the others waiting.
        let mut stuck = None;
        facts.loader.lock().waiting = incarnations.iter().filter(|known| **known != spool.incarnation()).count();
        for incarnation in incarnations {
            let loaded = async {
                let primary = topology.primary().map_err(|_| "the primary is not known".to_owned())?;
                let mark = log::watermark(&primary, &node, incarnation).await.map_err(|error| error.to_string())?;
                if !confirmed.contains(&incarnation) {
                    confirm(&mut reader, incarnation, mark)?;
                    confirmed.insert(incarnation);
                }
                load(&mut reader, incarnation, mark, &spool, &node, &primary, &facts).await
            };
            if let Err(reason) = loaded.await {
                stuck = stuck.or(Some(reason));
            }
        }
        facts.loader.lock().stuck = stuck;
    }
}

/// Refuses to go on from a watermark that another spool directory left: its records would be taken for this one's.
fn confirm(reader: &mut Reader, incarnation: u64, mark: Watermark) -> Result<(), String> {
    match tokio::task::block_in_place(|| reader.confirms(incarnation, mark.seq, &mark.chain)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!(
            "the database holds records 1 to {} of incarnation {incarnation} from another spool directory of a node with this name; \
             nothing is loaded over them. Give each node a name of its own; after a restart this node uses a new incarnation",
            mark.seq
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// Loads one incarnation until nothing durable is left of it.
async fn load(
    reader: &mut Reader,
    incarnation: u64,
    mut mark: Watermark,
    spool: &Spool,
    node: &str,
    primary: &Primary,
    facts: &Facts,
) -> Result<(), String> {
    loop {
        // Reads hit the page cache as a rule; a cold disk blocks this task's thread, not the data plane.
        let batch = tokio::task::block_in_place(|| reader.read(incarnation, mark.seq, ROWS_MAX)).map_err(|error| error.to_string())?;
        if !batch.rows.is_empty() {
            mark.seq = match log::load(primary, node, incarnation, mark.seq + 1, &batch.rows, batch.chain).await {
                Ok(seq) => seq,
                Err(LoadError::Store(error)) => return Err(error.to_string()),
                Err(gap @ LoadError::Gap { .. }) => return Err(gap.to_string()),
            };
            if incarnation == spool.incarnation() {
                facts.loader.lock().loaded_seq = mark.seq;
            }
            spool.release(incarnation, mark.seq).map_err(|error| error.to_string())?;
            continue;
        }
        if let Some(gap) = batch.gap {
            facts.loader.lock().gaps = gap.through_seq.saturating_sub(mark.seq);
            return Err(format!("records {} to {} of incarnation {incarnation} are missing on disk", mark.seq + 1, gap.through_seq));
        }
        if batch.complete {
            spool.release(incarnation, mark.seq).map_err(|error| error.to_string())?;
        }
        return Ok(());
    }
}

/// Waits until the last records are in the database, at most `patience`: what is left stays on disk for the next start.
pub async fn drained(spool: &Spool, facts: &Facts, patience: Duration) {
    let loaded = async {
        let mut pulse = tokio::time::interval(Duration::from_millis(20));
        while facts.loader.lock().loaded_seq < spool.durable_seq() {
            pulse.tick().await;
        }
    };
    if tokio::time::timeout(patience, loaded).await.is_err() {
        tracing::warn!("the last audit records stay on disk; they are loaded at the next start");
    }
}
