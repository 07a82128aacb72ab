//! `key-propagation` and `revocation-propagation`: what the writer region commits, the reader region shows through its
//! standby, within a second, also over a line of 150 ms each way.

use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::dev::RegionReady;
use harness::history::{self, Served};
use harness::node::Topology;
use harness::wait;

use crate::api::Api;
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::{Durations, millis};

/// The promise.
const WITHIN: Duration = Duration::from_secs(1);
/// How long a trial goes on looking after the promise is broken, to tell late from never.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a change must last once it has been seen.
const LINGER: Duration = Duration::from_millis(200);
/// The injected delay, each way.
const DELAY: Duration = Duration::from_millis(150);
/// How long the cut-off region must not show what only the primary has.
const WATCH: Duration = Duration::from_millis(1500);
/// The mutant: the reader's node has the primary's address in place of its standby's.
const READ_PRIMARY: &str = "read-primary";

pub(crate) const KEY: Claim = Claim {
    slug: "key-propagation",
    promise: "a key issued in one region works in the other, through its standby, within 1 s",
    trials: 20,
    mutants: &[READ_PRIMARY],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict, Change::Issue)) },
};

pub(crate) const REVOCATION: Claim = Claim {
    slug: "revocation-propagation",
    promise: "a revoked key is refused in both regions within 1 s of the commit",
    trials: 20,
    mutants: &[READ_PRIMARY],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict, Change::Revoke)) },
};

/// What is committed, and must then be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Issue,
    Revoke,
}

impl Change {
    /// What a region shows once it has the change.
    fn settled(self) -> Served {
        match self {
            Self::Issue => Served::Yes,
            Self::Revoke => Served::No,
        }
    }
}

async fn run(context: &mut Context, verdict: &mut Verdict, change: Change) -> Result<()> {
    let mut topology = Topology::start().await?;
    if context.is_mutant(READ_PRIMARY) {
        topology.read_primary().await?;
    }
    let bench = Bench { api: Api::of(topology.dev().ready())?, topology, change };

    bench.reads_the_standby(verdict).await?;
    for (delay, names) in [(Duration::ZERO, ["p50_ms", "p99_ms", "max_ms"]), (DELAY, ["delayed_p50_ms", "delayed_p99_ms", "delayed_max_ms"])] {
        bench.topology.delay(delay);
        let mut durations = Durations::default();
        for trial in 0..context.trials {
            bench.trial(verdict, &mut durations, trial).await?;
        }
        for (name, percent) in names.into_iter().zip([50, 99, 100]) {
            verdict.figure(name, durations.percentile(percent));
        }
    }
    verdict.figure("delay_each_way_ms", DELAY.as_millis());
    bench.topology.stop().await
}

struct Bench {
    api: Api,
    topology: Topology,
    change: Change,
}

impl Bench {
    fn writer(&self) -> &RegionReady {
        self.topology.writer.region()
    }

    fn reader(&self) -> &RegionReady {
        self.topology.reader.region()
    }

    /// A key that is ready for the change: not issued yet, or known in both regions.
    async fn prepared(&self, name: &str) -> Result<Option<crate::api::Issued>> {
        if self.change == Change::Issue {
            return Ok(None);
        }
        let key = self.api.issue(self.writer(), name).await?;
        for region in [self.writer(), self.reader()] {
            let looks = self.api.settles(region, &key.secret, Served::Yes, PATIENCE, Duration::ZERO).await;
            looks.took.with_context(|| format!("a new key does not come to work in {}: {}", region.name, looks.odd.unwrap_or_default()))?;
        }
        Ok(Some(key))
    }

    async fn commit(&self, name: &str, prepared: Option<crate::api::Issued>) -> Result<crate::api::Issued> {
        match prepared {
            None => self.api.issue(self.writer(), name).await,
            Some(key) => {
                self.api.revoke(self.writer(), &key.id).await?;
                Ok(key)
            }
        }
    }

    /// One trial, timed from the answer of the commit.
    async fn trial(&self, verdict: &mut Verdict, durations: &mut Durations, trial: u64) -> Result<()> {
        let name = format!("trial {trial}");
        let prepared = self.prepared(&name).await?;
        let key = self.commit(&name, prepared).await?;

        let settled = self.change.settled();
        let looks = |region| self.api.settles(region, &key.secret, settled, PATIENCE, LINGER);
        let (near, far) = tokio::join!(looks(self.writer()), looks(self.reader()));
        for (region, looks) in [(self.writer(), near), (self.reader(), far)] {
            let took = looks.took;
            let held = took.is_some_and(|took| took <= WITHIN) && history::falls_back(&looks.sights, settled).is_empty();
            verdict.trial(held, || match took {
                Some(took) => format!("{name}: {} showed the change after {} ms, or did not keep to it", region.name, millis(took)),
                None => format!("{name}: {} did not show the change in {} s {}", region.name, PATIENCE.as_secs(), looks.odd.unwrap_or_default()),
            });
            if region.name == self.reader().name {
                durations.add(took.unwrap_or(PATIENCE));
            }
        }
        Ok(())
    }

    /// The control without which the rest proves nothing: with replay paused on the standby and the line to the primary cut, the
    /// reader region must *not* show the change, for it cannot know it; once replay goes on it must, the line still cut.
    async fn reads_the_standby(&self, verdict: &mut Verdict) -> Result<()> {
        let settled = self.change.settled();
        let unsettled = match settled {
            Served::Yes => Served::No,
            Served::No => Served::Yes,
        };
        let standby = self.topology.standby();
        let prepared = self.prepared("control").await?;

        standby.ask("postgres", "select pg_wal_replay_pause()").await?;
        wait::until("a paused standby", PATIENCE, async || {
            let state = standby.ask("postgres", "select pg_get_wal_replay_pause_state()").await;
            state.is_ok_and(|rows| rows == ["paused"])
        })
        .await?;
        self.topology.to_primary.partition();
        let key = self.commit("control", prepared).await?;

        let near = self.api.settles(self.writer(), &key.secret, settled, WITHIN, Duration::ZERO).await;
        verdict.trial(near.took.is_some(), || format!("control: {} does not show its own change", self.writer().name));
        let far = self.api.stays(self.reader(), &key.secret, unsettled, WATCH).await;
        verdict.trial(far.is_none(), || {
            let what = far.unwrap_or_default();
            format!("control: {} knows what its standby has not replayed ({what}): it reads the primary", self.reader().name)
        });

        standby.ask("postgres", "select pg_wal_replay_resume()").await?;
        let after = self.api.settles(self.reader(), &key.secret, settled, PATIENCE, Duration::ZERO).await;
        verdict.trial(after.took.is_some_and(|took| took <= WITHIN), || {
            format!("control: {} does not follow its standby within 1 s while the primary is out of reach", self.reader().name)
        });
        if let Some(took) = after.took {
            verdict.figure("cut_off_ms", millis(took));
        }
        self.topology.to_primary.heal();
        Ok(())
    }
}
