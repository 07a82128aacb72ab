//! Numbers about WebSockets.

use std::fmt;

use edge::websocket::tally::{End, Reading};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// Writes them all.
///
/// # Errors
/// When the text cannot be written.
pub(super) fn encode(reading: Reading, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let open = ConstGauge::new(reading.open());
    open.encode(encoder.encode_descriptor("causeway_websockets_open", "WebSockets open", None, open.metric_type())?)?;
    let opened = ConstCounter::new(reading.opened);
    opened.encode(encoder.encode_descriptor("causeway_websockets", "WebSockets opened", None, opened.metric_type())?)?;
    let mut family = encoder.encode_descriptor("causeway_websocket_ends", "WebSockets that ended, by reason", None, opened.metric_type())?;
    for (end, count) in End::ALL.iter().zip(reading.ended) {
        ConstCounter::new(count).encode(family.encode_family(&[("reason", end.label())])?)?;
    }
    Ok(())
}
