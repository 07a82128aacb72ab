//! `/metrics`: every number of the node, as OpenMetrics text. All names stand here, and in `docs/operations.md`.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use edge::{
    metrics::{BUCKETS, Reading, Served},
    runtime::Edge,
};
use model::problem::ProblemKind;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::{certificates::Owner, facts::Facts, status::NodeStatus};

mod identity;
mod notifications;
mod positions;
mod resilience;
mod websocket;

/// The text of all metrics, read now.
pub fn text(status: &NodeStatus) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Numbers::read(status)));
    let mut out = String::new();
    if encode(&mut out, &registry).is_err() {
        out.clear();
    }
    out
}

#[derive(Debug)]
struct Numbers {
    edge: Arc<Edge>,
    facts: Arc<Facts>,
    reading: Reading,
    counters: Vec<(&'static str, &'static str, u64)>,
    gauges: Vec<(&'static str, &'static str, f64)>,
    /// Days until the first certificate expires, by listener or identity.
    expiry_days: Vec<(Owner, i64)>,
}

impl Numbers {
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point; losing the 53rd bit of a byte count is fine")]
    fn read(status: &NodeStatus) -> Self {
        let mut reading = Reading::default();
        for core in &status.counters {
            core.add_to(&mut reading);
        }
        let spool = status.spool.state();
        let snapshot = status.edge.current.load();
        let revisions = snapshot.as_ref().map(|snapshot| snapshot.revisions).unwrap_or_default();
        let loader = status.facts.loader.lock().clone();
        let cache = status.edge.cache.reading();
        let staleness = status.edge.lease.staleness_nanos(status.edge.clock.boot());
        let counters = vec![
            ("causeway_connections", "Connections accepted", reading.connections),
            ("causeway_connections_refused", "Connections closed at once because of a cap", reading.connections_refused),
            ("causeway_handshakes_failed", "TLS handshakes that did not finish", reading.handshakes_failed),
            (
                "causeway_proxy_headers_refused",
                "Connections of balancers closed because they began without a PROXY header",
                reading.proxy_headers_refused,
            ),
            #[cfg(feature = "http3")]
            ("causeway_http3_connections", "Connections over QUIC, among the others", reading.http3_connections),
            #[cfg(feature = "http3")]
            ("causeway_http3_requests", "Requests over HTTP/3, among the others", reading.http3_requests),
            ("causeway_requests_aborted", "Requests whose client went away", reading.aborted),
            ("causeway_connections_stalled", "Connections closed because nothing moved", reading.stalled),
            ("causeway_cache_hits", "Responses given from the cache", cache.hits),
            ("causeway_cache_misses", "Requests to services on routes with a cache", cache.misses),
            ("causeway_cache_collapsed", "Requests that got the response another one had asked for", cache.collapsed),
            ("causeway_cache_purges", "Purges of stored responses applied", cache.purges),
            ("causeway_cache_purged", "Stored responses dropped for them", cache.purged),
            ("causeway_audit_records", "Audit records on disk since the start", spool.records_total),
            ("causeway_audit_batches", "Batches that carried them", spool.batches_total),
            ("causeway_audit_fsyncs", "Calls of fdatasync for them", spool.fsyncs_total),
            (
                "causeway_certificate_reloads",
                "Certificate chains put in force while serving",
                status.facts.certificate_reloads.load(Ordering::Relaxed),
            ),
            ("causeway_bodies_refused", "Bodies that were not checked because those before them took all the memory", status.edge.bodies.refused()),
            ("causeway_audit_refused", "Requests refused because the audit log had no room", spool.refused_total),
        ];
        let gauges = vec![
            ("causeway_connections_open", "Connections open", reading.connections_open as f64),
            ("causeway_limit_cells", "Subjects with a rate limit in use", status.edge.cells.len() as f64),
            ("causeway_cache_bytes", "Bytes of stored responses", cache.bytes as f64),
            ("causeway_cache_capacity_bytes", "Most that they may take", cache.bytes_max as f64),
            ("causeway_bodies_held_bytes", "Bytes of bodies that are held to be checked", status.edge.bodies.bytes() as f64),
            ("causeway_bodies_held_capacity_bytes", "Most that they may take", status.edge.bodies.bytes_max() as f64),
            ("causeway_rows_quarantined", "Rows that are skipped because they cannot be read", status.facts.quarantined() as f64),
            (
                "causeway_audit_incarnations_waiting",
                "Earlier starts of this node whose records are not all in the database",
                (loader.waiting + status.facts.leftovers.lock().waiting) as f64,
            ),
            ("causeway_keys", "Keys in memory", snapshot.as_ref().map_or(0, |snapshot| snapshot.authority.keys.len()) as f64),
            ("causeway_routes", "Routes in memory", snapshot.as_ref().map_or(0, |snapshot| snapshot.structure.routes.len()) as f64),
            ("causeway_config_epoch", "Epoch in force", revisions.epoch as f64),
            ("causeway_config_authority_revision", "Authority revision in force", revisions.authority as f64),
            ("causeway_config_structural_revision", "Structural revision in force", revisions.structural as f64),
            (
                "causeway_config_rejected",
                "1 while the newest structure does not compile here",
                f64::from(u8::from(status.facts.nack.lock().is_some())),
            ),
            (
                "causeway_authority_staleness_seconds",
                "Age of the last confirmation of keys; -1 before the first",
                staleness.map_or(-1.0, |nanos| nanos as f64 / 1e9),
            ),
            ("causeway_audit_spool_bytes", "Bytes of the audit spool", spool.used_bytes as f64),
            ("causeway_audit_spool_capacity_bytes", "Most that the audit spool may take", spool.max_bytes as f64),
            ("causeway_audit_outstanding", "Audit records reserved and not yet on disk", spool.outstanding as f64),
            ("causeway_audit_outstanding_capacity", "Most of them", spool.outstanding_max as f64),
            (
                "causeway_audit_lag_records",
                "Audit records on disk that are not in the database",
                spool.durable_seq.saturating_sub(loader.loaded_seq) as f64,
            ),
            (
                "causeway_certificates_broken",
                "Listeners and identities whose newest certificate files cannot be used",
                status.facts.broken_certificates.lock().len() as f64,
            ),
            ("causeway_audit_failed", "1 after a failed write to the spool", f64::from(u8::from(spool.failed))),
        ];
        let expiry_days = status.certificates.iter().map(|(owner, chains)| (owner.clone(), status.certificate_days(chains))).collect();
        Self { edge: Arc::clone(&status.edge), facts: Arc::clone(&status.facts), reading, counters, gauges, expiry_days }
    }
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in &self.counters {
            let counter = ConstCounter::new(*value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        for (name, help, value) in &self.gauges {
            let gauge = ConstGauge::new(*value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let gauge = ConstGauge::new(0_i64);
        let mut family = encoder.encode_descriptor(
            "causeway_certificate_expiry_days",
            "Days until the first certificate of a listener or an identity expires",
            None,
            gauge.metric_type(),
        )?;
        for (owner, days) in &self.expiry_days {
            let label = match owner {
                Owner::Listener(which) => ("listener", *which),
                Owner::Identity(name) => ("identity", &**name),
            };
            ConstGauge::new(*days).encode(family.encode_family(&[label])?)?;
        }
        let counter = ConstCounter::new(0_u64);
        let mut family = encoder.encode_descriptor("causeway_refused", "Requests refused, by problem", None, counter.metric_type())?;
        for (kind, count) in ProblemKind::ALL.iter().zip(&self.reading.refused) {
            ConstCounter::new(*count).encode(family.encode_family(&[("problem", kind.code())])?)?;
        }
        resilience::encode(&self.edge, &mut encoder)?;
        positions::encode(&self.edge.positions, self.edge.clock.boot(), &mut encoder)?;
        identity::encode(&self.edge, &mut encoder)?;
        notifications::encode(&self.facts.notifications, &mut encoder)?;
        websocket::encode(self.edge.websockets.tally.read(), &mut encoder)?;
        let kind = prometheus_client::metrics::MetricType::Histogram;
        let mut family =
            encoder.encode_descriptor("http_server_request_duration_seconds", "From a request's head to its response's release", None, kind)?;
        for ((route, class), served) in &self.reading.served {
            let class = format!("{class}xx");
            let labels = [("http_route", &**route), ("http_response_status_class", class.as_str())];
            encode_histogram(served, family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a sum of nanoseconds as seconds")]
fn encode_histogram(served: &Served, mut encoder: prometheus_client::encoding::MetricEncoder<'_>) -> Result<(), fmt::Error> {
    let bounds = BUCKETS.iter().copied().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(served.buckets).collect();
    let count = served.buckets.iter().sum();
    encoder.encode_histogram::<prometheus_client::encoding::NoLabelSet>(served.sum_nanos as f64 / 1e9, count, &buckets, None)
}
