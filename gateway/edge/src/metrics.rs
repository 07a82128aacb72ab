//! What a core counts. Each core has its own counters; readers add them up.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::StatusCode;
use model::problem::ProblemKind;
use parking_lot::Mutex;

/// Upper bounds of the duration buckets, in seconds.
pub const BUCKETS: [f64; 14] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const BUCKET_NANOS: [u64; 14] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Requests of one route and status class.
#[derive(Debug, Clone, Default)]
pub struct Served {
    /// Requests at or below each bound of [`BUCKETS`], not cumulative; the last one counts the rest.
    pub buckets: [u64; 15],
    /// Sum of the durations in nanoseconds.
    pub sum_nanos: u64,
}

/// What one core counted since the node started.
#[derive(Debug)]
pub struct Counters {
    connections: AtomicU64,
    connections_open: AtomicU64,
    connections_refused: AtomicU64,
    handshakes_failed: AtomicU64,
    proxy_headers_refused: AtomicU64,
    http3_connections: AtomicU64,
    http3_requests: AtomicU64,
    beat_seconds: AtomicU64,
    aborted: AtomicU64,
    stalled: AtomicU64,
    refused: Box<[AtomicU64]>,
    served: Mutex<HashMap<(Arc<str>, u8), Served, foldhash::fast::RandomState>>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            connections: AtomicU64::new(0),
            connections_open: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
            handshakes_failed: AtomicU64::new(0),
            proxy_headers_refused: AtomicU64::new(0),
            http3_connections: AtomicU64::new(0),
            http3_requests: AtomicU64::new(0),
            beat_seconds: AtomicU64::new(0),
            aborted: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
            refused: ProblemKind::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            served: Mutex::default(),
        }
    }
}

/// A reading of one or several cores.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// Connections closed at once because of a cap.
    pub connections_refused: u64,
    /// Handshakes that did not finish.
    pub handshakes_failed: u64,
    /// Connections from balancers that began without a PROXY header that can be read.
    pub proxy_headers_refused: u64,
    /// Connections over QUIC, among the others.
    pub http3_connections: u64,
    /// Requests over HTTP/3, among the others.
    pub http3_requests: u64,
    /// Requests whose client went away.
    pub aborted: u64,
    /// Connections closed because nothing moved.
    pub stalled: u64,
    /// Refusals by problem, in the order of [`ProblemKind::ALL`].
    pub refused: Vec<u64>,
    /// Served requests by route and status class (2 for 2xx).
    pub served: HashMap<(Arc<str>, u8), Served>,
}

impl Counters {
    /// Counts a request that a service answered.
    pub fn served(&self, route: Option<&Arc<str>>, status: StatusCode, nanos: u64) {
        let Some(route) = route else { return };
        let class = u8::try_from(status.as_u16() / 100).unwrap_or(0);
        let bucket = BUCKET_NANOS.iter().position(|bound| nanos <= *bound).unwrap_or(BUCKET_NANOS.len());
        let mut served = self.served.lock();
        let entry = served.entry((Arc::clone(route), class)).or_default();
        if let Some(count) = entry.buckets.get_mut(bucket) {
            *count += 1;
        }
        entry.sum_nanos = entry.sum_nanos.saturating_add(nanos);
    }

    /// Counts a refusal.
    pub fn refused(&self, kind: ProblemKind) {
        let index = ProblemKind::ALL.iter().position(|known| *known == kind).unwrap_or(0);
        if let Some(counter) = self.refused.get(index) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a request whose client went away.
    pub fn aborted(&self) {
        self.aborted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection closed because nothing moved.
    pub fn stalled(&self) {
        self.stalled.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection from its beginning to its end.
    pub fn connection_opened(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connections_open.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends what [`Self::connection_opened`] began.
    pub fn connection_closed(&self) {
        self.connections_open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection that a cap refused.
    pub fn connection_refused(&self) {
        self.connections_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a handshake that did not finish.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection from a balancer that began without a PROXY header that can be read.
    pub fn proxy_header_refused(&self) {
        self.proxy_headers_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection over QUIC whose handshake is over.
    pub fn http3_connection(&self) {
        self.http3_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request over HTTP/3.
    pub fn http3_request(&self) {
        self.http3_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the core's sweep ran, at this second of the time since boot.
    pub fn beat(&self, seconds: u64) {
        self.beat_seconds.store(seconds, Ordering::Relaxed);
    }

    /// When the core's sweep ran last, in seconds since boot; 0 before the first time.
    pub fn last_beat_seconds(&self) -> u64 {
        self.beat_seconds.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.connections_open.load(Ordering::Relaxed)
    }

    /// Adds this core's numbers to a reading.
    pub fn add_to(&self, reading: &mut Reading) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        reading.connections += load(&self.connections);
        reading.connections_open += load(&self.connections_open);
        reading.connections_refused += load(&self.connections_refused);
        reading.handshakes_failed += load(&self.handshakes_failed);
        reading.proxy_headers_refused += load(&self.proxy_headers_refused);
        reading.http3_connections += load(&self.http3_connections);
        reading.http3_requests += load(&self.http3_requests);
        reading.aborted += load(&self.aborted);
        reading.stalled += load(&self.stalled);
        reading.refused.resize(self.refused.len(), 0);
        for (sum, counter) in reading.refused.iter_mut().zip(&self.refused) {
            *sum += load(counter);
        }
        for (key, served) in self.served.lock().iter() {
            let sum = reading.served.entry(key.clone()).or_default();
            for (total, count) in sum.buckets.iter_mut().zip(&served.buckets) {
                *total += count;
            }
            sum.sum_nanos = sum.sum_nanos.saturating_add(served.sum_nanos);
        }
    }
}
