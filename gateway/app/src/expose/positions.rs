//! Numbers about reads that were promised what their clients have written.

use std::fmt;

use edge::positions::Positions;
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// Writes them all.
///
/// # Errors
/// When the text cannot be written.
pub(super) fn encode(positions: &Positions, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
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
    Ok(())
}
