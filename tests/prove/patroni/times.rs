//! How long it took until changes were made again.

use std::time::Duration;

use harness::patroni::Fault;

use super::Blow;
use crate::claim::Verdict;
use crate::figures::{Durations, millis};

/// The kinds, with the names of their figures.
const KINDS: [(Blow, [&str; 4]); 4] = [
    (Blow::Unplanned(Fault::Crash), ["crash_p50_ms", "crash_max_ms", "crash_patroni_p50_ms", "crash_patroni_max_ms"]),
    (Blow::Switchover, ["switchover_p50_ms", "switchover_max_ms", "switchover_patroni_p50_ms", "switchover_patroni_max_ms"]),
    (Blow::Unplanned(Fault::Kill), ["kill_p50_ms", "kill_max_ms", "kill_patroni_p50_ms", "kill_patroni_max_ms"]),
    (Blow::Unplanned(Fault::Freeze), ["freeze_p50_ms", "freeze_max_ms", "freeze_patroni_p50_ms", "freeze_patroni_max_ms"]),
];

/// Of all trials, from the blow on.
#[derive(Debug, Default)]
pub(super) struct Times {
    trials: Vec<(Blow, Duration, Duration)>,
    rejoined: Durations,
}

impl Times {
    /// When the promoted server took a write, and when changes had been made through each node.
    pub(super) fn add(&mut self, blow: Blow, accepted: Duration, served: Duration) {
        self.trials.push((blow, accepted, served));
    }

    pub(super) fn rejoined(&mut self, took: Duration) {
        self.rejoined.add(took);
    }

    pub(super) fn figures(&self, verdict: &mut Verdict) {
        let mut ours = Durations::default();
        for (blow, [p50, max, patroni_p50, patroni_max]) in KINDS {
            let (mut served, mut accepted) = (Durations::default(), Durations::default());
            let mut n = 0;
            for (_, theirs, all) in self.trials.iter().filter(|(of, ..)| *of == blow) {
                served.add(*all);
                accepted.add(*theirs);
                ours.add(all.saturating_sub(*theirs));
                n += 1;
            }
            if n > 0 {
                for (name, value) in [
                    (p50, served.percentile(50)),
                    (max, served.percentile(100)),
                    (patroni_p50, accepted.percentile(50)),
                    (patroni_max, accepted.percentile(100)),
                ] {
                    verdict.figure(name, value);
                }
            }
        }
        // What is ours: from the first write that the promoted server took on. That is looked for ten times a second.
        verdict.figure("ours_p50_ms", ours.percentile(50));
        verdict.figure("ours_max_ms", ours.percentile(100));
        verdict.figure("rejoin_max_ms", self.rejoined.percentile(100));
        let longest = self.trials.iter().map(|(_, _, all)| *all).max().unwrap_or_default();
        verdict.figure("max_ms", millis(longest));
    }
}
