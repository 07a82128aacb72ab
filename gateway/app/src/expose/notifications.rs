//! Numbers about notifications.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use store::notification::outbox::Waiting;

use crate::notifications::Tally;

/// A gauge: its name, what it says, and how it is read.
type Reading = (&'static str, &'static str, fn(&Waiting) -> f64);

/// Writes them all.
///
/// # Errors
/// When the text cannot be written.
#[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
pub(super) fn encode(tally: &Tally, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let kind = ConstCounter::new(0_u64).metric_type();
    let help = "Attempts of this node to deliver a notification, by how they ended";
    let mut family = encoder.encode_descriptor("causeway_notification_attempts", help, None, kind)?;
    for (outcome, count) in tally.attempts() {
        ConstCounter::new(count).encode(family.encode_family(&[("outcome", outcome)])?)?;
    }
    let waiting = tally.waiting();
    let kind = ConstGauge::new(0.0_f64).metric_type();
    let gauges: [Reading; 3] = [
        ("causeway_notifications_queued", "Notifications of the deployment that wait, by channel", |waiting| waiting.queued as f64),
        ("causeway_notifications_failed", "Notifications given up in the last week, by channel", |waiting| waiting.failed as f64),
        ("causeway_notifications_oldest_seconds", "Age of the oldest that waits, by channel", |waiting| waiting.oldest_seconds),
    ];
    for (name, help, value) in gauges {
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for channel in &waiting {
            ConstGauge::new(value(channel)).encode(family.encode_family(&[("channel", channel.channel.as_str())])?)?;
        }
    }
    Ok(())
}
