//! Faults while sessions go on, one after the other. Each is seen to be there before it ends, and seen to be over before the next.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::regions::Regions;
use harness::seed::Random;
use harness::sql::Sql;
use harness::wait;
use tokio::time::{Instant, sleep_until};

/// How long a standby stands still: at least, and at most.
const STILL: (Duration, Duration) = (Duration::from_millis(1_500), Duration::from_secs(3));
/// Between two faults.
const BETWEEN: Duration = Duration::from_millis(500);
/// How long a standby may take to have what it missed.
const RECOVERS_WITHIN: Duration = Duration::from_mins(1);
/// How often a server is asked: each question is a process.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// How many there were.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    held: u32,
    paused: u32,
    standbys: u32,
    nodes: u32,
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { held, paused, standbys, nodes } = self;
        write!(f, "held:{held},paused:{paused},standbys:{standbys},nodes:{nodes}")
    }
}

/// Makes faults: each kind once, and then on until it is enough. The first two are where mutants would be seen: one standby stands still
/// while the other one goes on, and then the other way round.
pub(crate) async fn make(regions: &mut Regions, random: &mut Random, is_enough: impl Fn() -> bool) -> Result<Faults> {
    let mut faults = Faults::default();
    let (all, nodes) = (regions.names().len(), regions.members().len());
    let drawn = |random: &mut Random, from: usize, until: usize| from + usize::try_from(random.below(until.saturating_sub(from) as u64)).unwrap_or(0);
    for number in 0.. {
        if number > 3 && is_enough() {
            break;
        }
        let still = random.between(STILL.0, STILL.1);
        let is_first = number < 4;
        match number % 4 {
            0 => {
                hold(regions, if is_first { all - 1 } else { drawn(random, 1, all) }, still).await.context("a line that is held")?;
                faults.held += 1;
            }
            1 => {
                restart_node(regions, drawn(random, 0, nodes)).await.context("a node that is killed")?;
                faults.nodes += 1;
            }
            2 => {
                pause(regions, if is_first { 1 } else { drawn(random, 1, all) }, still).await.context("a replay that is paused")?;
                faults.paused += 1;
            }
            // The second region's standby is not ours to end.
            _ if all > 2 => {
                restart_standby(regions, drawn(random, 2, all)).await.context("a standby that ends")?;
                faults.standbys += 1;
            }
            _ => {}
        }
        sleep_until(Instant::now() + BETWEEN).await;
    }
    Ok(faults)
}

async fn hold(regions: &Regions, region: usize, still: Duration) -> Result<()> {
    let standby = regions.server(region)?;
    regions.hold_replication(region);
    sleep_until(Instant::now() + still).await;
    let position = written(regions.primary()).await?;
    let has_all = has(&standby, &position).await?;
    regions.release_replication(region);
    ensure!(!has_all, "its standby has everything");
    catches_up(&standby, &position).await
}

async fn pause(regions: &Regions, region: usize, still: Duration) -> Result<()> {
    stand_still(regions.primary(), &regions.server(region)?, still).await
}

/// Lets one standby after the other stand still, each once, and then on until it is enough. Answers how often.
pub(crate) async fn pauses(primary: &Sql, standbys: &[Sql], random: &mut Random, is_enough: impl Fn() -> bool) -> Result<usize> {
    for (number, standby) in standbys.iter().cycle().enumerate() {
        if number >= standbys.len() && is_enough() {
            return Ok(number);
        }
        stand_still(primary, standby, random.between(STILL.0, STILL.1)).await.context("a replay that is paused")?;
        sleep_until(Instant::now() + BETWEEN).await;
    }
    Ok(0)
}

async fn stand_still(primary: &Sql, standby: &Sql, still: Duration) -> Result<()> {
    standby.ask("postgres", "select pg_wal_replay_pause()").await?;
    sleep_until(Instant::now() + still).await;
    let position = written(primary).await?;
    let has_all = has(standby, &position).await?;
    standby.ask("postgres", "select pg_wal_replay_resume()").await?;
    ensure!(!has_all, "its standby has everything");
    catches_up(standby, &position).await
}

async fn restart_standby(regions: &mut Regions, region: usize) -> Result<()> {
    regions.restart_standby(region).await?;
    let position = written(regions.primary()).await?;
    catches_up(&regions.server(region)?, &position).await
}

async fn restart_node(regions: &mut Regions, node: usize) -> Result<()> {
    regions.restart_node(node).await
}

/// The primary's position.
async fn written(primary: &Sql) -> Result<String> {
    Ok(primary.ask("postgres", "select pg_current_wal_insert_lsn()").await?.concat())
}

async fn has(standby: &Sql, position: &str) -> Result<bool> {
    let rows = standby.ask("postgres", &format!("select pg_last_wal_replay_lsn() >= '{position}'")).await?;
    Ok(rows == ["t"])
}

async fn catches_up(standby: &Sql, position: &str) -> Result<()> {
    let mut next = Instant::now();
    wait::until("a standby that has what it missed", RECOVERS_WITHIN, async || {
        sleep_until(next).await;
        next = Instant::now() + ASK_EVERY;
        has(standby, position).await.unwrap_or(false)
    })
    .await?;
    Ok(())
}
