//! What a node knows about itself, for `/readyz`, `/status` and `/metrics`.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use model::{change::Revisions, time::UtcMicros};
use parking_lot::Mutex;
use store::error::StoreError;
use tokio::sync::watch;

use crate::{beating::Pulse, load::Round, notifications::Tally};

/// A structural revision that this node cannot serve.
#[derive(Debug, Clone)]
pub struct Nack {
    /// Which.
    pub structural: u64,
    /// The first reason.
    pub message: String,
}

/// How far the loader is.
#[derive(Debug, Clone, Default)]
pub struct LoaderFacts {
    /// Records in the database, of the live incarnation.
    pub loaded_seq: u64,
    /// Why it does not go on.
    pub stuck: Option<String>,
    /// Earlier incarnations that are not all in the database.
    pub waiting: usize,
    /// Records it cannot load because they are missing on disk.
    pub gaps: u64,
}

/// Values that tasks write and pages read.
#[derive(Debug)]
pub struct Facts {
    /// When the process started.
    pub started_at: UtcMicros,
    /// Rows of the authority lane that could not be read, since the last whole load.
    pub bad_authority: AtomicU64,
    /// Rows of the structure in force that could not be read.
    pub bad_structure: AtomicU64,
    /// The structural revision that does not compile here.
    pub nack: Mutex<Option<Nack>>,
    /// The last known writer region of each domain.
    pub known_writers: Mutex<HashMap<Arc<str>, Arc<str>>>,
    /// The snapshot could not be written to disk.
    pub seal_failed: AtomicBool,
    /// The journal could not be written to disk since the snapshot there was.
    pub journal_failed: AtomicBool,
    /// The revision of the authority lane that this node comes to by what this process has synced to disk, after a restart without a
    /// database; its structural members are zero. All zero while nothing is promised yet. It never goes back.
    pub journaled: watch::Sender<Revisions>,
    /// The audit loader.
    pub loader: Mutex<LoaderFacts>,
    /// The folder that the process before this one wrote into, while it is being loaded.
    pub leftovers: Mutex<Round>,
    /// What the sender of notifications has counted.
    pub notifications: Tally,
    /// Another process of this node is taking over, or has done so.
    pub handing_over: AtomicBool,
    /// The process before this one has handed over, and still serves what it had.
    pub has_predecessor: AtomicBool,
    /// The number by which this process speaks for its node; zero before it does.
    pub registered: AtomicU64,
    /// Whether what it reports is written.
    pub told: Answers,
    /// Whether the primary can be asked for its heartbeat.
    pub asked: Answers,
    /// What is known about the heartbeat of the control domain; `None` while the primary does not answer.
    pub heartbeat: watch::Sender<Option<Pulse>>,
    /// How old the read was that renewed the lease last, nanoseconds.
    confirmed_after: AtomicU64,
    /// Certificate files that cannot be used; the chains before them stay in force.
    pub broken_certificates: Mutex<Vec<String>>,
    /// Chains that were put in force since the start.
    pub certificate_reloads: AtomicU64,
    /// The node is stopping.
    pub draining: AtomicBool,
    database: Answers,
}

/// Whether somebody answers: what goes wrong again and again is logged once.
#[derive(Debug, Default)]
pub struct Answers {
    has_failed: AtomicBool,
}

impl Answers {
    /// True when it did not before.
    pub fn answered(&self) -> bool {
        self.has_failed.swap(false, Ordering::Relaxed)
    }

    /// Only the first time in a row is logged.
    pub fn failed(&self, error: &StoreError, what: &'static str) {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = error as &dyn std::error::Error, "{what}");
        }
    }
}

impl Facts {
    /// Facts of a process that starts now; `has_predecessor` when it takes over from another one.
    pub fn new(started_at: UtcMicros, has_predecessor: bool) -> Arc<Self> {
        Arc::new(Self {
            started_at,
            bad_authority: AtomicU64::new(0),
            bad_structure: AtomicU64::new(0),
            nack: Mutex::default(),
            known_writers: Mutex::default(),
            seal_failed: AtomicBool::new(false),
            journal_failed: AtomicBool::new(false),
            journaled: watch::Sender::new(Revisions::default()),
            loader: Mutex::default(),
            leftovers: Mutex::default(),
            notifications: Tally::default(),
            handing_over: AtomicBool::new(false),
            has_predecessor: AtomicBool::new(has_predecessor),
            registered: AtomicU64::new(0),
            told: Answers::default(),
            asked: Answers::default(),
            heartbeat: watch::Sender::default(),
            confirmed_after: AtomicU64::new(0),
            broken_certificates: Mutex::default(),
            certificate_reloads: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            database: Answers::default(),
        })
    }

    /// A read renewed the lease, so many nanoseconds after it began.
    pub fn confirmed_after(&self, nanos: u64) {
        self.confirmed_after.store(nanos, Ordering::Relaxed);
    }

    /// How old the read was that renewed the lease last, in milliseconds; `None` before the first.
    pub fn confirmation_ms(&self) -> Option<u64> {
        Some(self.confirmed_after.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0).map(|nanos| nanos / 1_000_000)
    }

    /// Rows that are skipped now because they could not be read.
    pub fn quarantined(&self) -> u64 {
        self.bad_authority.load(Ordering::Relaxed) + self.bad_structure.load(Ordering::Relaxed)
    }

    /// The server that this region reads answered.
    pub fn replica_answered(&self) {
        if self.database.answered() {
            tracing::info!("the control database answers again");
        }
    }

    /// The database did not answer; only the first time in a row is logged.
    pub fn database_failed(&self, error: &StoreError) {
        self.database.failed(error, "the control database does not answer; serving goes on by each route's policy");
    }
}
