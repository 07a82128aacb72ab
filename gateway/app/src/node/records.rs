//! The node's spool folders. A folder belongs to one process at a time, and while one process takes over from another there
//! are two of them: the second one writes into an alternate folder, and loads what the first one leaves.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use audit::spool::{Spool, SpoolConfig, SpoolError};
use edge::clock::Clock;
use store::topology::Topology;

use super::Predecessor;
use crate::{config::NodeConfig, facts::Facts, load::Loader};

/// How long a process waits for a folder that its predecessor lets go before it hands its sockets over.
const FREE_WITHIN: Duration = Duration::from_secs(5);

/// Opens a folder to write into; the other one is returned as it has to be opened later.
///
/// # Errors
/// When the folder is in use although nobody hands over, or both are: an earlier predecessor is still draining.
pub(super) async fn open(config: &NodeConfig, predecessor: Option<&Predecessor>) -> Result<(Spool, SpoolConfig)> {
    let cannot = || format!("cannot open the audit spool {}", config.spool.dir.display());
    let mut pulse = tokio::time::interval(Duration::from_millis(100));
    let opened = async {
        loop {
            pulse.tick().await;
            for [own, other] in [[folder(config), alternate(config)], [alternate(config), folder(config)]] {
                match Spool::open(own) {
                    Ok(spool) => return Ok((spool, other)),
                    Err(SpoolError::Locked { .. }) if predecessor.is_some() => {}
                    Err(error) => return Err(error),
                }
            }
        }
    };
    match tokio::time::timeout(FREE_WITHIN, opened).await {
        Ok(opened) => opened.with_context(cannot),
        Err(_) => Err(SpoolError::Locked { dir: config.spool.dir.clone() }).with_context(|| {
            format!("{}, nor the alternate one: the process before the one that serves is still draining; try again then", cannot())
        }),
    }
}

fn folder(config: &NodeConfig) -> SpoolConfig {
    let mut spool = SpoolConfig::new(&config.spool.dir, &config.node);
    spool.disk_bytes_max = config.spool.max.0;
    spool.segment_bytes = config.spool.segment.0;
    // Microseconds: two directories that are made within one second must not share a number, because the database would take
    // the first records of the second for ones that it has.
    spool.incarnation_floor = u64::try_from(Clock.wall().0).unwrap_or(0);
    spool
}

fn alternate(config: &NodeConfig) -> SpoolConfig {
    let mut spool = folder(config);
    let mut name = config.spool.dir.file_name().unwrap_or_default().to_owned();
    name.push(".alternate");
    spool.dir = config.spool.dir.with_file_name(name);
    spool
}

/// Loads what lies in a folder that no process writes into, as soon as its process has gone, and ends when nothing is left.
/// While this process hands over, its successor has the first right to the folder.
pub(super) async fn leftovers(config: SpoolConfig, node: Arc<str>, topology: Topology, facts: Arc<Facts>) {
    if !config.dir.is_dir() {
        facts.has_predecessor.store(false, Ordering::Relaxed);
        return;
    }
    let dir: PathBuf = config.dir.clone();
    let mut pulse = tokio::time::interval(Duration::from_secs(1));
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pulse.tick().await;
        if facts.handing_over.load(Ordering::Relaxed) {
            continue;
        }
        let opened = tokio::task::block_in_place(|| Spool::open(config.clone()));
        let spool = match opened {
            Ok(spool) => spool,
            // Its process still drains.
            Err(SpoolError::Locked { .. }) => continue,
            Err(error) => {
                facts.leftovers.lock().stuck = Some(format!("{} cannot be opened: {error}", dir.display()));
                continue;
            }
        };
        // Its process held it to its end.
        facts.has_predecessor.store(false, Ordering::Relaxed);
        let is_done = load_all(&spool, &node, &topology, &facts).await;
        tokio::task::block_in_place(|| spool.close());
        if is_done {
            tracing::info!(dir = %dir.display(), "everything that the process before left is in the database");
            return;
        }
    }
}

/// True when nothing is left; false when this process begins to hand over.
async fn load_all(spool: &Spool, node: &Arc<str>, topology: &Topology, facts: &Arc<Facts>) -> bool {
    let mut loader = Loader::new(spool.clone(), Arc::clone(node), topology.clone(), Arc::clone(facts));
    let mut pulse = tokio::time::interval(Duration::from_millis(100));
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !facts.handing_over.load(Ordering::Relaxed) {
        pulse.tick().await;
        let round = loader.round().await;
        let is_done = round.stuck.is_none() && round.waiting == 0;
        *facts.leftovers.lock() = round;
        if is_done {
            return true;
        }
    }
    false
}
