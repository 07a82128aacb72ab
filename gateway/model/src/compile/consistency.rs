//! Compiles what a route promises about staleness: of what is known about keys, and of what a service answers.

use std::time::Duration;

use super::{Errors, route::Context};
use crate::{
    document::RouteDoc,
    duration::Span,
    policy::{ConsistencyDoc, ConsistencyFullDoc, ElseDoc, KeysDoc, OnStaleDoc, PresetDoc, ReadModeDoc, ReadsDoc},
    structure::{KeyFreshness, Reads},
};

/// The longest that a read waits for a replica.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Three heartbeats and a look take about as long.
const BOUND_MIN: Duration = Duration::from_millis(250);
/// For so long it is kept where a domain was.
const BOUND_MAX: Duration = Duration::from_hours(1);

pub(super) fn policy(doc: &ConsistencyDoc, at: &str, errors: &mut Errors) -> (KeyFreshness, Reads, bool) {
    let full = match doc {
        ConsistencyDoc::Preset(preset) => preset_policy(*preset),
        ConsistencyDoc::Full(full) => full.clone(),
    };
    if full.keys.max_staleness.0 < Duration::from_millis(500) {
        errors.add_with_help(
            format!("{at}.consistency.keys.max_staleness"),
            "a bound below 500ms cannot be confirmed often enough",
            Some("write at least 500ms; 2s holds across continents".to_owned()),
        );
    }
    if (full.reads.mode == ReadModeDoc::Bounded) != full.reads.max.is_some() {
        errors.add(format!("{at}.consistency.reads"), "`max` belongs to `mode: bounded`, and that mode needs it");
    }
    if full.reads.cookie && full.reads.mode != ReadModeDoc::ReadYourWrites {
        errors.add(format!("{at}.consistency.reads.cookie"), "a cookie carries the token of `mode: read_your_writes`, and no other mode has one");
    }
    if full.reads.wait.is_some_and(|wait| wait.0 > WAIT_MAX) {
        errors.add(format!("{at}.consistency.reads.wait"), "a read waits for a replica for at most 10s");
    }
    if full.reads.max.is_some_and(|max| !(BOUND_MIN..=BOUND_MAX).contains(&max.0)) {
        errors.add_with_help(
            format!("{at}.consistency.reads.max"),
            "no answer can be proved to be that new, or needs to be proved so old: at least 250ms, at most 1h",
            Some("500ms can be held within a region, 2s across continents".to_owned()),
        );
    }
    let keys =
        KeyFreshness { max_staleness_nanos: u64::try_from(full.keys.max_staleness.0.as_nanos()).unwrap_or(u64::MAX), on_stale: full.keys.on_stale };
    let reads = Reads {
        mode: full.reads.mode,
        max: full.reads.max.map_or(Duration::MAX, |span| span.0),
        wait: full.reads.wait.map_or(Duration::from_millis(100), |span| span.0),
        otherwise: full.reads.otherwise.unwrap_or(ElseDoc::Primary),
        cookie: full.reads.cookie,
    };
    (keys, reads, full.get_writes)
}

/// How old an answer is can be proved only where it can be told which server answers, and nodes may write heartbeats.
pub(super) fn bounded(doc: &RouteDoc, mode: ReadModeDoc, at: &str, context: &Context<'_>, errors: &mut Errors) {
    if mode != ReadModeDoc::Bounded || doc.token_endpoint.is_some() {
        return;
    }
    let besides = doc.split.iter().map(|split| &split.upstream).chain(doc.canary.iter().map(|canary| &canary.upstream));
    for name in besides.chain([&doc.upstream]) {
        let Some(service) = context.upstreams.get(name.as_str()).filter(|service| service.beating.is_none()) else { continue };
        let (message, help) = match &service.domain {
            Some(domain) => (
                format!("how old an answer of `{name}` is cannot be proved: nobody writes heartbeats into its domain `{domain}`"),
                format!("make the table and write `heartbeat: true` at the domain `{domain}` (docs/consistency.md), or use another mode"),
            ),
            // There is one region, and nothing to choose from.
            None if service.regions.len() < 2 => continue,
            None => (
                format!("how old an answer of `{name}` is cannot be proved: it has no `domain`"),
                "name its database under `domains`, with `heartbeat: true`, or use another mode".to_owned(),
            ),
        };
        errors.add_with_help(format!("{at}.consistency.reads"), message, Some(help));
    }
}

fn preset_policy(preset: PresetDoc) -> ConsistencyFullDoc {
    let seconds = |n| Span(Duration::from_secs(n));
    let (keys, on_stale, mode, max, otherwise) = match preset {
        PresetDoc::Finance => (2, OnStaleDoc::Deny, ReadModeDoc::Strong, None, ElseDoc::Refuse),
        PresetDoc::Health => (10, OnStaleDoc::Deny, ReadModeDoc::Bounded, Some(seconds(10)), ElseDoc::Refuse),
        PresetDoc::Social => (300, OnStaleDoc::Allow, ReadModeDoc::ReadYourWrites, None, ElseDoc::Stale),
    };
    ConsistencyFullDoc {
        keys: KeysDoc { max_staleness: seconds(keys), on_stale },
        reads: ReadsDoc { mode, max, wait: None, otherwise: Some(otherwise), cookie: false },
        get_writes: false,
    }
}
