//! The loader: brings this node's audit records into PostgreSQL, exactly once, oldest first.

use std::{collections::HashMap, sync::Arc, time::Duration};

use audit::{
    reader::{Batch, Reader},
    spool::Spool,
};
use store::{
    audit::{self as log, LoadError, Watermark},
    pool::Primary,
    topology::Topology,
};

use crate::facts::Facts;

/// Records in one transaction: large enough for 20,000 a second, small enough to be over in tens of milliseconds.
const ROWS_MAX: usize = 2_000;

/// How often new records are looked for, and so about how late they can be searched.
const PULSE: Duration = Duration::from_millis(100);

/// What one look at the spool came to.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// Incarnations, apart from the one that is being written, that are not all in the database.
    pub waiting: usize,
    /// Why something could not be loaded.
    pub stuck: Option<String>,
}

/// Loads for as long as the node runs. The database may be away for hours: records wait on disk.
pub async fn run(mut loader: Loader) {
    let facts = Arc::clone(&loader.facts);
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pulse.tick().await;
        let Round { waiting, stuck } = loader.round().await;
        let mut shown = facts.loader.lock();
        (shown.waiting, shown.stuck) = (waiting, stuck);
    }
}

/// Loads one spool folder.
#[derive(Debug)]
pub struct Loader {
    spool: Spool,
    node: Arc<str>,
    topology: Topology,
    facts: Arc<Facts>,
    reader: Reader,
    batch: Batch,
    into: log::Loader,
    /// How far each incarnation is loaded, as the database said when it was last asked or written; the transaction that loads
    /// compares it once more. Forgotten after an error.
    loaded: HashMap<u64, u64>,
}

impl Loader {
    /// A loader of a folder.
    pub fn new(spool: Spool, node: Arc<str>, topology: Topology, facts: Arc<Facts>) -> Self {
        let reader = spool.reader();
        Self { spool, node, topology, facts, reader, batch: Batch::default(), into: log::Loader::default(), loaded: HashMap::new() }
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

    /// Loads one incarnation until nothing durable is left of it.
    async fn incarnation(&mut self, incarnation: u64) -> Result<(), String> {
        let primary = self.topology.primary().map_err(|_| "the primary is not known".to_owned())?;
        let from = if let Some(seq) = self.loaded.remove(&incarnation) {
            seq
        } else {
            let mark = log::watermark(&primary, &self.node, incarnation).await.map_err(|error| error.to_string())?;
            confirm(&mut self.reader, incarnation, mark)?;
            mark.seq
        };
        let seq = self.load(incarnation, from, &primary).await?;
        self.loaded.insert(incarnation, seq);
        Ok(())
    }

    async fn load(&mut self, incarnation: u64, mut seq: u64, primary: &Primary) -> Result<u64, String> {
        let facts = Arc::clone(&self.facts);
        let is_live = incarnation == self.spool.incarnation();
        loop {
            if is_live {
                facts.loader.lock().loaded_seq = seq;
                if seq >= self.spool.durable_seq() {
                    // Nothing new; what is loaded was given back by the turn that loaded it.
                    return Ok(seq);
                }
            }
            self.read(incarnation, seq)?;
            let Batch { rows, chain, complete, gap } = &self.batch;
            if rows.is_empty() {
                if let Some(gap) = gap {
                    facts.loader.lock().gaps = gap.through_seq.saturating_sub(seq);
                    return Err(format!("records {} to {} of incarnation {incarnation} are missing on disk", seq + 1, gap.through_seq));
                }
                debug_assert!(*complete || is_live, "an earlier incarnation ends or has a gap");
                return Ok(seq);
            }
            let last_seq = rows.last_seq();
            let loaded = match self.into.load(primary, &self.node, incarnation, seq + 1, rows.iter(), *chain).await {
                Ok(loaded) => loaded,
                Err(LoadError::Store(error)) => return Err(error.to_string()),
                Err(gap @ LoadError::Gap { .. }) => return Err(gap.to_string()),
            };
            if loaded != last_seq {
                return Err(format!("somebody else loaded incarnation {incarnation} up to {loaded}"));
            }
            seq = loaded;
            let spool = &self.spool;
            // Removing a file takes its time on some file systems.
            tokio::task::block_in_place(|| spool.release(incarnation, seq)).map_err(|error| error.to_string())?;
        }
    }

    /// Reads hit the page cache as a rule; a cold disk blocks this task's thread, not the data plane.
    fn read(&mut self, incarnation: u64, after_seq: u64) -> Result<(), String> {
        let Self { reader, batch, .. } = self;
        tokio::task::block_in_place(|| reader.read_into(batch, incarnation, after_seq, ROWS_MAX)).map_err(|error| error.to_string())
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
