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

/// What one look at the spool came to.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// Incarnations, apart from the one that is being written, that are not all in the database.
    pub waiting: usize,
    /// Why something could not be loaded.
    pub stuck: Option<String>,
}

/// Loads one spool folder.
#[derive(Debug)]
pub struct Loader {
    spool: Spool,
    reader: Reader,
    node: Arc<str>,
    topology: Topology,
    facts: Arc<Facts>,
    confirmed: HashSet<u64>,
}

impl Loader {
    /// A loader of a folder.
    pub fn new(spool: Spool, node: Arc<str>, topology: Topology, facts: Arc<Facts>) -> Self {
        Self { reader: spool.reader(), spool, node, topology, facts, confirmed: HashSet::new() }
    }

    /// Loads what is durable now.
    pub async fn round(&mut self) -> Round {
        let incarnations = match self.reader.incarnations() {
            Ok(incarnations) => incarnations,
            Err(error) => return Round { waiting: 0, stuck: Some(format!("the spool cannot be read: {error}")) },
        };
        let waiting = incarnations.iter().filter(|known| **known != self.spool.incarnation()).count();
        // A gap in one incarnation must not keep the others waiting.
        let mut stuck = None;
        for incarnation in incarnations {
            if let Err(reason) = self.incarnation(incarnation).await {
                stuck = stuck.or(Some(reason));
            }
        }
        Round { waiting, stuck }
    }

    async fn incarnation(&mut self, incarnation: u64) -> Result<(), String> {
        let primary = self.topology.primary().map_err(|_| "the primary is not known".to_owned())?;
        let mark = log::watermark(&primary, &self.node, incarnation).await.map_err(|error| error.to_string())?;
        if !self.confirmed.contains(&incarnation) {
            confirm(&mut self.reader, incarnation, mark)?;
            self.confirmed.insert(incarnation);
        }
        load(&mut self.reader, incarnation, mark, &self.spool, &self.node, &primary, &self.facts).await
    }
}

/// Loads for as long as the node runs. The database may be away for hours: records wait on disk.
pub async fn run(mut loader: Loader) {
    let facts = Arc::clone(&loader.facts);
    let mut pulse = tokio::time::interval(Duration::from_millis(100));
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pulse.tick().await;
        let Round { waiting, stuck } = loader.round().await;
        let mut shown = facts.loader.lock();
        (shown.waiting, shown.stuck) = (waiting, stuck);
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
