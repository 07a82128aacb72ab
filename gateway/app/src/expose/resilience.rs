//! Numbers about endpoints, retries, breakers, names and copies.

use std::{collections::BTreeMap, fmt};

use edge::{
    balance::{breaker::Phase, tally::Event},
    runtime::Edge,
};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// A counter of the node.
type Plain = (&'static str, &'static str, Event);

const PLAIN: [Plain; 8] = [
    ("causeway_endpoint_panic", "Requests for which all endpoints were tried, because too few were usable", Event::Panic),
    ("causeway_breaker_opened", "Times that a circuit breaker opened", Event::BreakerOpened),
    ("causeway_breaker_refused", "Tries that an open circuit breaker refused", Event::BreakerRefused),
    ("causeway_retries_refused", "Retries that the budget refused", Event::RetryRefused),
    ("causeway_endpoint_queued", "Requests that waited because endpoints were at their cap", Event::Queued),
    ("causeway_endpoint_queue_refused", "Requests that found that queue full, or waited there in vain", Event::QueueRefused),
    ("causeway_names_failed", "Look-ups of names that failed", Event::NameFailed),
    ("causeway_names_changed", "Look-ups of names that found other addresses", Event::NameChanged),
];

/// A counter with one label: its name, its help, the label, and the events by the label's values.
type Labeled = (&'static str, &'static str, &'static str, &'static [(&'static str, Event)]);

const LABELED: [Labeled; 4] = [
    (
        "causeway_endpoint_rests",
        "Times that an endpoint was spared because it failed",
        "reason",
        &[("gateway_failures", Event::RestGatewayFailures), ("server_errors", Event::RestServerErrors), ("success_rate", Event::RestSuccessRate)],
    ),
    (
        "causeway_health_changes",
        "Times that checks took an endpoint out or brought it back",
        "to",
        &[("out", Event::CheckOut), ("back", Event::CheckBack)],
    ),
    (
        "causeway_retries",
        "Tries after the first, by what ended the one before",
        "reason",
        &[("connect", Event::RetryConnect), ("reset", Event::RetryReset), ("timeout", Event::RetryTimeout), ("status", Event::RetryStatus)],
    ),
    (
        "causeway_mirror",
        "Copies of requests, by what became of them",
        "result",
        &[("sent", Event::MirrorSent), ("failed", Event::MirrorFailed), ("dropped", Event::MirrorDropped), ("streamed", Event::MirrorStreamed)],
    ),
];

/// Writes them all.
///
/// # Errors
/// When the text cannot be written.
pub(super) fn encode(edge: &Edge, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    for (name, help, event) in PLAIN {
        let counter = ConstCounter::new(edge.tally.read(event));
        counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
    }
    for (name, help, label, events) in LABELED {
        let mut family = encoder.encode_descriptor(name, help, None, ConstCounter::new(0_u64).metric_type())?;
        for (value, event) in events {
            ConstCounter::new(edge.tally.read(*event)).encode(family.encode_family(&[(label, *value)])?)?;
        }
    }
    endpoints(edge, encoder)?;
    breakers(edge, encoder)
}

fn endpoints(edge: &Edge, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let now = edge.clock.boot();
    let mut counts: BTreeMap<String, [u32; 3]> = BTreeMap::new();
    for endpoint in edge.health.view() {
        let [usable, resting, out] = counts.entry(endpoint.upstream().to_owned()).or_default();
        *match () {
            () if endpoint.is_out() => out,
            () if endpoint.is_usable(now) => usable,
            () => resting,
        } += 1;
    }
    let gauge = ConstGauge::new(0.0_f64);
    let help = "Endpoints that are known, by what may be done with them";
    let mut family = encoder.encode_descriptor("causeway_endpoints", help, None, gauge.metric_type())?;
    for (upstream, counts) in &counts {
        for (state, count) in ["usable", "resting", "out"].into_iter().zip(counts) {
            ConstGauge::new(f64::from(*count)).encode(family.encode_family(&[("upstream", upstream.as_str()), ("state", state)])?)?;
        }
    }
    Ok(())
}

fn breakers(edge: &Edge, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let now = edge.clock.boot();
    let snapshot = edge.current.load();
    let upstreams = snapshot.as_ref().map(|snapshot| &*snapshot.structure.upstreams).unwrap_or_default();
    let gauge = ConstGauge::new(0.0_f64);
    let help = "Circuit breakers: 0 closed, 1 half open, 2 open";
    let mut family = encoder.encode_descriptor("causeway_breaker_state", help, None, gauge.metric_type())?;
    for (upstream, region, breaker) in edge.breakers.view() {
        let rule = upstreams.iter().find(|known| known.name == upstream);
        let Some(rule) = rule.and_then(|known| known.resilience.breaker.as_ref()) else { continue };
        let state = match breaker.phase(rule, now) {
            Phase::Closed => 0.0,
            Phase::HalfOpen => 1.0,
            Phase::Open => 2.0,
        };
        ConstGauge::new(state).encode(family.encode_family(&[("upstream", &*upstream), ("region", &*region)])?)?;
    }
    Ok(())
}
