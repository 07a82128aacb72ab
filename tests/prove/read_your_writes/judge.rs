//! What is said of the runs.

use std::time::Duration;

use harness::history::{Action, Violation};

use super::record::{Place, Record, TOLD_MAX, Tally};
use super::session::Ground;
use crate::claim::Verdict;
use crate::figures::{Durations, share};

/// Judges the history of the run whose clients sent their tokens, and adds its figures.
pub(super) fn history(record: &Record, verdict: &mut Verdict, ground: &Ground) {
    let broken = record.broken();
    let failures = (broken.stale.len() + broken.back.len()) as u64;
    verdict.trials_of(record.tally.reads, failures, || {
        let (stale, back) = (sentences(record, ground, &broken.stale), sentences(record, ground, &broken.back));
        format!("{} stale reads:{stale}\n  and {} that went back:{back}", broken.stale.len(), broken.back.len())
    });
    let tally = &record.tally;
    let (far, at_home) = (record.served(|place| is_far(ground, place)), record.served(|place| is_local(ground, place)));
    let by_region = ground.regions.iter().map(|name| format!("{name}:{}", record.served(|place| place.answered(ground) == Some(name))));
    verdict.figure("sessions", record.sessions);
    verdict.figure("writes", tally.writes - tally.unwritten);
    verdict.figure("stale_with_token", broken.stale.len());
    verdict.figure("back_with_token", broken.back.len());
    verdict.figure("served", share(record.served(|_| true), tally.reads));
    verdict.figure("served_locally", share(at_home, far));
    verdict.figure("by_region", by_region.collect::<Vec<_>>().join(","));
    verdict.figure("unreached", tally.unreached);
    verdict.figure("unavailable", tally.unavailable);
    verdict.figure("unanswered", tally.unanswered);
    verdict.figure("without_token", tally.without_token);
    times(record, verdict, ground);
}

/// Judges what else must be so in that run: refusing everything would keep every promise, and so would asking the primary alone.
pub(super) fn service(record: &Record, verdict: &mut Verdict, ground: &Ground) {
    let (tally, served) = (&record.tally, record.served(|_| true));
    verdict.trials_of(0, tally.marked, || format!("{} reads are said to be stale, on routes that allow none", tally.marked));
    verdict.trials_of(0, u64::from(served * 10 < tally.reads * 9), || format!("{served} of {} reads were served", tally.reads));
    let (far, at_home) = (record.served(|place| is_far(ground, place)), record.served(|place| is_local(ground, place)));
    verdict.trials_of(0, u64::from(at_home * 5 < far), || format!("{at_home} of {far} reads away from the primary were answered where they came"));
    for name in &ground.regions {
        let own = record.served(|place| place.asked(ground) == *name && place.answered(ground) == Some(name));
        verdict.trials_of(0, u64::from(own == 0), || format!("{name} has answered none of its own clients' reads"));
    }
}

/// Judges single answers of a run, whatever its clients sent.
pub(super) fn answers(record: &Record, verdict: &mut Verdict, run: &str) {
    let Tally { without_token, wrong, told, .. } = &record.tally;
    verdict.trials_of(0, *without_token, || format!("{run}: {without_token} answers came without the token that they ought to bring"));
    verdict.trials_of(0, *wrong, || format!("{run}: {wrong} answers are wrong: {}", told.join("; ")));
}

/// A sentence about each of the first violations.
fn sentences(record: &Record, ground: &Ground, violations: &[Violation]) -> String {
    let tell = |at: usize| {
        let Some((op, place)) = record.get(at) else { return String::new() };
        let (region, node) = (place.answered(ground).unwrap_or("?"), place.node(ground));
        format!("{:?} of version {} by {region} through {node} at {} to {} us", op.action, op.version, op.began_us, op.ended_us)
    };
    let of = |violation: &Violation| {
        let (session, item) = record.get(violation.broken_by).map_or((0, 0), |(op, _)| (op.session, op.item));
        format!("\n    session {session}, item {item}: {}; then {}", tell(violation.promised_by), tell(violation.broken_by))
    };
    violations.iter().take(TOLD_MAX).map(of).collect()
}

fn times(record: &Record, verdict: &mut Verdict, ground: &Ground) {
    let (mut local, mut elsewhere, mut writes) = (Durations::default(), Durations::default(), Durations::default());
    for (op, place) in record.iter() {
        let took = Duration::from_micros(op.ended_us.saturating_sub(op.began_us));
        match op.action {
            Action::Write => writes.add(took),
            Action::Read if is_local(ground, place) => local.add(took),
            Action::Read if is_far(ground, place) => elsewhere.add(took),
            Action::Read => {}
        }
    }
    let names = [["local_p50_ms", "local_p99_ms"], ["elsewhere_p50_ms", "elsewhere_p99_ms"], ["write_p50_ms", "write_p99_ms"]];
    for (durations, names) in [local, elsewhere, writes].iter().zip(names) {
        for (name, percent) in names.into_iter().zip([50, 99]) {
            verdict.figure(name, durations.percentile(percent));
        }
    }
}

/// Whether it was asked away from the primary.
fn is_far(ground: &Ground, place: Place) -> bool {
    ground.regions.first().is_none_or(|writer| place.asked(ground) != *writer)
}

/// Whether it was asked there, and answered there.
fn is_local(ground: &Ground, place: Place) -> bool {
    is_far(ground, place) && !place.is_elsewhere(ground)
}
