//! Numbers about reads that were promised something of the database behind a service.

use std::{fmt, time::Duration};

use edge::positions::Positions;
use model::time::BootNanos;
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// Writes them all.
///
/// # Errors
/// When the text cannot be written.
pub(super) fn encode(positions: &Positions, now: BootNanos, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let kind = ConstCounter::new(0_u64).metric_type();
    let mut family = encoder.encode_descriptor("causeway_consistency", "What came of consistency tokens, reads with them and writes", None, kind)?;
    for (event, count) in positions.counts() {
        ConstCounter::new(count).encode(family.encode_family(&[("event", event.name())])?)?;
    }
    let kind = ConstGauge::new(0_i64).metric_type();
    let help = "Bytes of the log by which the servers that a region reads are behind the domain's primary";
    let mut family = encoder.encode_descriptor("causeway_domain_lag_bytes", help, None, kind)?;
    for domain in positions.all().values() {
        let view = domain.view();
        for region in view.regions() {
            // Nothing rather than a number that means something else.
            let Some(lag) = view.lag_bytes(region) else { continue };
            ConstGauge::new(i64::try_from(lag).unwrap_or(i64::MAX))
                .encode(family.encode_family(&[("domain", &*domain.name), ("region", region)])?)?;
        }
    }
    let kind = ConstGauge::new(0.0).metric_type();
    let help = "Age of the newest read of the domain's primary that its heartbeats have confirmed: no bound below it can be kept";
    let mut family = encoder.encode_descriptor("causeway_domain_confirmed_age_seconds", help, None, kind)?;
    for domain in positions.all().values() {
        let Some(newest) = domain.heartbeat().newest() else { continue };
        ConstGauge::new(Duration::from_nanos(now.nanos_since(newest.at)).as_secs_f64())
            .encode(family.encode_family(&[("domain", &*domain.name)])?)?;
    }
    Ok(())
}
