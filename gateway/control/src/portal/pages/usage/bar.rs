//! Limits of a plan, and how much of the longer ones is used. What is used is read where usage is: in what the audit loader has counted.

use askama::Template;
use model::{
    document::{ByDoc, PlanLimitDoc},
    key::KeyId,
    limit::Rate,
    time::UtcMicros,
};
use store::usage::{Counted, Step};

use crate::{
    admin::store_refusal,
    portal::site::{Charged, Site},
    refusal::Refusal,
    state::ControlState,
};

/// Limits of a shorter period than an hour say nothing about a quota.
const QUOTA_NANOS: u64 = 3_600_000_000_000;
const DAY_NANOS: u64 = 24 * QUOTA_NANOS;

/// Whose bars.
#[derive(Debug, Clone)]
pub(in crate::portal::pages) struct Holder<'a> {
    /// The key, on its own page.
    pub(in crate::portal::pages) key: Option<KeyId>,
    pub(in crate::portal::pages) application: &'a str,
    pub(in crate::portal::pages) consumer: &'a str,
    /// The plan whose limits count.
    pub(in crate::portal::pages) plan: Option<&'a str>,
}

/// The part of a page that shows the limits of a plan.
#[derive(Debug, Template)]
#[template(path = "portal/bars.html")]
pub(in crate::portal::pages) struct Bars {
    pub(super) bars: Vec<Bar>,
}

/// One limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) name: String,
    /// As the plan has it: `1000/d`.
    pub(super) rate: String,
    /// Whose requests are counted together.
    pub(super) counts: &'static str,
    /// Absent for limits of a short period, and where the page is not about whoever is counted.
    pub(super) used: Option<Used>,
}

/// How much of a quota is used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) requests: u64,
    pub(super) limit: u64,
    /// The last day, say.
    pub(super) period: String,
    /// How room comes back.
    pub(super) reset: String,
}

/// The limits of a plan, with what is used of those that last long enough to be a quota.
pub(in crate::portal::pages) async fn bars(state: &ControlState, site: &Site, holder: &Holder<'_>) -> Result<Bars, Refusal> {
    let Some(limits) = holder.plan.and_then(|plan| site.plans.get(plan)) else { return Ok(Bars { bars: Vec::new() }) };
    let mut bars = Vec::with_capacity(limits.len());
    for (name, limit) in limits {
        let charged: Vec<&Charged> = site.charged.iter().filter(|charged| charged.limit == *name).collect();
        if charged.is_empty() {
            bars.push(bar(name, limit, "no route uses it now", None));
        }
        for charged in charged {
            let used = match counted(charged, holder).filter(|_| limit.rate.period_nanos >= QUOTA_NANOS) {
                Some(counted) => {
                    let (since, step) = window(limit.rate, state.now().wall);
                    let replica = state.replica().map_err(|error| store_refusal(&error))?;
                    // A bar that takes too long is left out; the page has more than its bars.
                    store::usage::admitted(&replica, &counted, since, step).await.inspect_err(|error| drop(store_refusal(error))).ok()
                }
                None => None,
            };
            bars.push(bar(name, limit, counts(charged.by), used));
        }
    }
    Ok(Bars { bars })
}

/// Whose requests are counted, where the page is about them.
fn counted<'a>(charged: &'a Charged, holder: &Holder<'a>) -> Option<Counted<'a>> {
    let none = Counted { key_id: None, application: None, consumer: None, routes: &charged.routes };
    match charged.by {
        ByDoc::Key => holder.key.map(|key| Counted { key_id: Some(key), ..none }),
        ByDoc::Application => Some(Counted { application: Some(holder.application), ..none }),
        ByDoc::Consumer => Some(Counted { consumer: Some(holder.consumer), ..none }),
        ByDoc::Address => None,
    }
}

const fn counts(by: ByDoc) -> &'static str {
    match by {
        ByDoc::Key => "for each key",
        ByDoc::Application => "for all keys of the application together",
        ByDoc::Consumer => "for all applications of the team together",
        ByDoc::Address => "for each client address",
    }
}

/// Since when, and how exactly: minutes are kept for two days.
fn window(rate: Rate, now: UtcMicros) -> (UtcMicros, Step) {
    let step = if rate.period_nanos > DAY_NANOS { Step::Hour } else { Step::Minute };
    let length = i64::try_from(step.length().as_micros()).unwrap_or(i64::MAX);
    let since = now.0.saturating_sub(i64::try_from(rate.period_nanos / 1_000).unwrap_or(i64::MAX));
    // Slots are whole: the one in which the period begins counts.
    (UtcMicros(since - since.rem_euclid(length)), step)
}

pub(super) fn bar(name: &str, limit: &PlanLimitDoc, counts: &'static str, used: Option<u64>) -> Bar {
    let rate = serde_json::to_value(limit.rate).ok().and_then(|rate| rate.as_str().map(str::to_owned)).unwrap_or_default();
    let count = u64::from(limit.rate.count.get());
    let used = used.map(|requests| Used {
        requests,
        limit: count,
        period: span(limit.rate.period_nanos),
        reset: format!("room for one comes back every {}", span(limit.rate.period_nanos / count)),
    });
    Bar { name: name.to_owned(), rate, counts, used }
}

/// A time in words, in its largest unit that leaves no more than a tenth away.
fn span(nanos: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(86_400_000_000_000, "day"), (3_600_000_000_000, "hour"), (60_000_000_000, "minute"), (1_000_000_000, "second"), (1_000_000, "millisecond")];
    let fitting = UNITS.iter().find(|(unit, _)| nanos == *unit || nanos >= 10 * unit || (nanos >= *unit && nanos.is_multiple_of(*unit)));
    let (unit, word) = fitting.copied().unwrap_or((1_000_000, "millisecond"));
    let n = nanos.div_ceil(unit);
    if n == 1 { word.to_owned() } else { format!("{n} {word}s") }
}
