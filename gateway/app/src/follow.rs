//! Follows the control database: polls the region's replica, publishes snapshots, confirms the authority lease.
//!
//! Polling is the truth; a notification only makes it earlier. Two lanes: authority rows apply at once, one by one, and a
//! bad one is skipped; the structure is compiled whole, and one that does not compile leaves the last good in place. No
//! content of any row ends the process.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use edge::runtime::Edge;
use model::{
    authority::Authority,
    change::{AuthorityChange, Revisions},
    compile::{self, ConfigError, node::Means},
    document::Document,
    key::KeyId,
    snapshot::Snapshot,
    structure::Structure,
    time::UtcMicros,
};
use store::{
    error::StoreError,
    pool::Reader,
    revision::{self, BadRow, Change, Delta, FullLoad, Hint, ReloadReason, StructureLoad},
    topology::Topology,
};
use tokio::sync::{mpsc, watch};

mod awaited;
mod disk;
pub mod probing;
mod sealing;
mod settling;
use self::{
    awaited::Awaited,
    probing::{Probe, Seen},
    sealing::Sealing,
    settling::Settling,
};
use crate::{
    domains::Writers,
    facts::{Facts, Nack},
    journal::{Journal, Record},
    key_sets, principal, purge,
    sealed::Sealed,
};

/// How often the replica is asked for its heads.
const POLL: Duration = Duration::from_millis(50);
/// How long a server has to tell what has changed.
const DELTA_WITHIN: Duration = Duration::from_secs(5);
/// How long a start waits for the database before it uses what lies on disk.
const START_PATIENCE: Duration = Duration::from_secs(2);
/// The kind of row that is skipped by itself; every other kind that can be unreadable belongs to the structure.
const AUTHORITY_ROW: &str = "key";

/// Follows the control database for one node.
#[derive(Debug)]
pub struct Follower {
    /// What the cores share.
    pub edge: Arc<Edge>,
    /// The control database.
    pub topology: Topology,
    /// The snapshot on disk.
    pub sealed: Sealed,
    /// What was applied since.
    pub journal: Journal,
    /// What status pages tell.
    pub facts: Arc<Facts>,
    /// Where the primaries of the domains are.
    pub writers: watch::Receiver<Writers>,
}

/// What is applied.
#[derive(Debug)]
struct Applied {
    revisions: Revisions,
    document: Arc<Document>,
    structure: Arc<Structure>,
    authority: Arc<Authority>,
    booted_from: Option<UtcMicros>,
    /// The newest structural revision that was looked at, compiled or not.
    structural_seen: u64,
}

impl Applied {
    /// What was taken from the database, in its epoch: a structure that was refused, too.
    const fn seen(&self) -> Revisions {
        Revisions { structural_epoch: self.revisions.epoch, structural: self.structural_seen, ..self.revisions }
    }
}

impl Follower {
    /// Runs for as long as the node does.
    pub async fn run(self, mut seen: mpsc::Receiver<Seen>, mut hints: mpsc::Receiver<Hint>) {
        let mut applied = self.start().await;
        self.journal.start(&self.facts);
        let mut writers = self.writers.clone();
        let mut unapplied: Vec<Probe> = Vec::new();
        let mut awaited = Awaited::default();
        let mut sealing = Sealing::default();
        let mut settling = Settling::default();
        let mut pulse = tokio::time::interval(POLL);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut is_due = true;
            tokio::select! {
                _ = pulse.tick() => {}
                Some(seen) = seen.recv() => {
                    settling.look(&self.topology, &applied.seen(), &seen.probe, self.edge.clock.boot());
                    is_due = self.note(&applied, &mut unapplied, &mut awaited, seen);
                }
                Some(hint) = hints.recv() => awaited.hear_of(&applied.seen(), &hint, self.edge.clock.boot()),
                Ok(()) = writers.changed() => {
                    self.publish(&applied, &writers.borrow_and_update().clone());
                    is_due = false;
                }
            }
            if is_due && self.advance(&mut applied, &awaited).await {
                self.publish(&applied, &self.writers.borrow().clone());
                sealing.changed();
            }
            awaited.reached(&applied.seen());
            if self.confirm(&mut applied, &mut unapplied) {
                self.publish(&applied, &self.writers.borrow().clone());
                sealing.changed();
            }
            self.seal(&applied, &mut sealing);
        }
    }

    /// The first snapshot: the database's if it answers soon and is not older than what lies on disk, else that.
    async fn start(&self) -> Applied {
        let booted = self.on_disk();
        if let Some(booted) = &booted {
            self.topology.heard().hear(&booted.seen());
        }
        let floor = booted.as_ref().map(|booted| booted.revisions).unwrap_or_default();
        let loaded = tokio::time::timeout(START_PATIENCE, self.load_at_least(floor, booted.as_ref())).await;
        let applied = match (loaded, booted) {
            (Ok(applied), _) => applied,
            (Err(_), Some(booted)) => {
                tracing::warn!(revisions = ?booted.revisions, sealed_at = %booted.booted_from.unwrap_or(UtcMicros(0)), "started from the snapshot on disk: the control database does not answer");
                booted
            }
            (Err(_), None) => {
                tracing::warn!("the control database does not answer and there is no snapshot on disk; waiting");
                self.load_at_least(Revisions::default(), None).await
            }
        };
        self.publish(&applied, &self.writers.borrow().clone());
        applied
    }

    async fn load_at_least(&self, floor: Revisions, before: Option<&Applied>) -> Applied {
        let mut pulse = tokio::time::interval(POLL);
        loop {
            pulse.tick().await;
            match self.full_load().await {
                Ok(load) if follows(&load.revisions, &floor) => return self.applied_from(load, before),
                Ok(_older) => {}
                Err(error) => self.facts.database_failed(&error),
            }
        }
    }

    async fn full_load(&self) -> Result<FullLoad, StoreError> {
        let load = match self.topology.replica() {
            Ok(replica) => revision::full(&replica).await,
            Err(_) => revision::full(&self.topology.primary()?).await,
        };
        load.inspect(|load| self.topology.heard().hear(&load.revisions))
    }

    /// Compiles a whole load; with `before`, a structure that does not compile, or is older, leaves the one before in place.
    fn applied_from(&self, load: FullLoad, before: Option<&Applied>) -> Applied {
        self.facts.bad_authority.store(0, Ordering::Relaxed);
        self.facts.bad_structure.store(0, Ordering::Relaxed);
        Self::quarantine(&load.quarantined, &self.facts.bad_authority);
        let authority = Arc::new(Authority::from_rows(load.consumers, load.applications, load.keys, load.denials));
        let mut revisions = load.revisions;
        // A replica may show a newer authority with an older structure than the primary, or the disk, has shown already.
        let newer = before.filter(|before| before.revisions.epoch == revisions.epoch && before.structural_seen > revisions.structural);
        if let Some(before) = newer {
            keep_structure(&mut revisions, before);
            return Applied {
                revisions,
                document: Arc::clone(&before.document),
                structure: Arc::clone(&before.structure),
                authority,
                booted_from: None,
                structural_seen: before.structural_seen,
            };
        }
        let structural_seen = revisions.structural;
        let document = Arc::new(load.document);
        let (document, structure) = match (self.compile(&document, revisions.structural, &load.quarantined), before) {
            (Some(structure), _) => (document, Arc::new(structure)),
            (None, Some(before)) => {
                keep_structure(&mut revisions, before);
                (Arc::clone(&before.document), Arc::clone(&before.structure))
            }
            // A new node with a document that it cannot serve: it serves nothing, and says so.
            (None, None) => {
                revisions.structural = 0;
                (Arc::default(), Arc::default())
            }
        };
        Applied { revisions, document, structure, authority, booted_from: None, structural_seen }
    }

    /// Compiles a document whole. One with an unreadable row is refused like one that does not compile: without a route its
    /// requests would fall to a wider one, which may ask for less.
    fn compile(&self, document: &Document, revision: u64, quarantined: &[BadRow]) -> Option<Structure> {
        let unreadable = quarantined.iter().find(|row| row.kind != AUTHORITY_ROW);
        let compiled = match unreadable {
            Some(row) => Err((1, format!("{} {}: {}", row.kind, row.entity, row.message))),
            None => self.compiled(document).map_err(|errors| {
                let first = errors.first().map(|error| format!("{}: {}", error.path, error.message)).unwrap_or_default();
                (errors.len(), first)
            }),
        };
        match compiled {
            Ok(structure) => {
                *self.facts.nack.lock() = None;
                Some(structure)
            }
            Err((mistakes, first)) => {
                tracing::error!(config.revision = revision, mistakes, first, "a structural revision does not compile; the last good one stays");
                *self.facts.nack.lock() = Some(Nack { structural: revision, message: first });
                None
            }
        }
    }

    /// A structure that this node can serve as it is meant.
    fn compiled(&self, document: &Document) -> Result<Structure, Vec<ConfigError>> {
        let structure = compile::compile(document)?;
        self.has_means(&structure)?;
        Ok(structure)
    }

    /// Whether this node has what a structure asks nodes for.
    fn has_means(&self, structure: &Structure) -> Result<(), Vec<ConfigError>> {
        let identities: Vec<_> = self.edge.identities.names().collect();
        let clients: Vec<_> = self.edge.issuers.introspections.names().collect();
        let means = Means {
            identities: &identities,
            principals: principal::signing(&self.edge.keyring),
            tokens: key_sets::signing(&self.edge.tokens),
            introspection_clients: &clients,
        };
        compile::node::check(structure, means)
    }

    fn quarantine(rows: &[BadRow], counter: &AtomicU64) {
        for row in rows {
            tracing::error!(kind = row.kind, entity = row.entity, message = row.message, "a row cannot be read; it is skipped");
        }
        counter.fetch_add(u64::try_from(rows.len()).unwrap_or(0), Ordering::Relaxed);
    }

    /// Takes in what a look at the primary has brought. True when the database should be asked now.
    fn note(&self, applied: &Applied, unapplied: &mut Vec<Probe>, awaited: &mut Awaited, seen: Seen) -> bool {
        awaited.hear(&applied.seen(), &seen.probe.read, self.edge.clock.boot());
        unapplied.extend(seen.confirmed);
        // A node that is behind for longer than so many reads take has other troubles.
        unapplied.drain(..unapplied.len().saturating_sub(64));
        awaited.is_any()
    }

    /// Renews the lease by every confirmed read whose revision is applied. True when this ends the time of a snapshot from disk.
    fn confirm(&self, applied: &mut Applied, unapplied: &mut Vec<Probe>) -> bool {
        let heard = self.topology.heard().newest();
        let before = unapplied.len();
        unapplied.retain(|probe| {
            // Who knows of a later epoch does not believe a server of an earlier one, which may be cut off from all others.
            let is_newest = probe.read.epoch >= heard.epoch && !probe.read.contradicts(&heard);
            let is_applied = is_newest && probe.read.are_of_one_epoch(&applied.revisions) && probe.read.authority <= applied.revisions.authority;
            if is_applied {
                self.edge.lease.confirm(probe.started_at);
                self.facts.confirmed_after(self.edge.clock.boot().nanos_since(probe.started_at));
            }
            !is_applied
        });
        unapplied.len() < before && applied.booted_from.take().is_some()
    }

    /// Brings what is applied up to the replica's heads, or the primary's when the replica is late or says nothing. True when it changed.
    async fn advance(&self, applied: &mut Applied, awaited: &Awaited) -> bool {
        let rtt_us = self.facts.heartbeat.borrow().as_ref().map_or(0, |pulse| pulse.rtt_us);
        let is_late = awaited.is_late(self.edge.clock.boot(), rtt_us);
        let result = match (self.topology.replica(), self.topology.primary()) {
            // A far primary takes seconds where a connection has to be made first, and all that time nothing is confirmed: the replica may
            // have it sooner.
            (Ok(replica), Ok(primary)) if is_late => {
                let found = tokio::select! {
                    delta = Self::delta(&primary, applied.revisions) => Ok(delta),
                    () = awaited.arrives(&replica) => Err(()),
                };
                match found {
                    Ok(delta) => self.take_delta(&primary, applied, delta).await,
                    Err(()) => self.advance_from(&replica, applied).await,
                }
            }
            (Ok(replica), Ok(primary)) => {
                let have = applied.revisions;
                // A server that is restarted, or has vanished, keeps whoever asks it waiting: nothing would be applied or confirmed meanwhile.
                let otherwise = async {
                    tokio::time::sleep(awaited::patience(rtt_us)).await;
                    Self::delta(&primary, have).await
                };
                let found = tokio::select! {
                    Ok(delta) = Self::delta(&replica, have) => Ok(delta),
                    delta = otherwise => Err(delta),
                };
                match found {
                    Ok(delta) => self.take_delta(&replica, applied, Ok(delta)).await,
                    Err(delta) => self.take_delta(&primary, applied, delta).await,
                }
            }
            (Ok(replica), Err(_)) => self.advance_from(&replica, applied).await,
            (Err(_), Ok(primary)) => self.advance_from(&primary, applied).await,
            (Err(error), Err(_)) => Err(error),
        };
        match result {
            Ok(changed) => changed,
            Err(error) => {
                self.facts.database_failed(&error);
                false
            }
        }
    }

    async fn advance_from(&self, reader: &impl Reader, applied: &mut Applied) -> Result<bool, StoreError> {
        let delta = Self::delta(reader, applied.revisions).await;
        self.take_delta(reader, applied, delta).await
    }

    /// What a server has beyond these revisions.
    async fn delta(reader: &impl Reader, have: Revisions) -> Result<Delta, StoreError> {
        // A server that has vanished without a word must not hold up what the others say.
        tokio::time::timeout(DELTA_WITHIN, revision::authority_delta(reader, &have)).await.map_err(|_| StoreError::silent())?
    }

    /// Applies what a server has said. True when something changed.
    async fn take_delta(&self, reader: &impl Reader, applied: &mut Applied, delta: Result<Delta, StoreError>) -> Result<bool, StoreError> {
        let (revisions, changes) = match delta? {
            Delta::Changes { revisions, changes } => (revisions, changes),
            // A replica that is behind what this node has from the primary already: it catches up by itself.
            Delta::Reload(ReloadReason::Regressed) => return Ok(false),
            Delta::Reload(reason) => {
                let load = revision::full(reader).await?;
                if !follows(&load.revisions, &applied.revisions) {
                    return Ok(false);
                }
                self.topology.heard().hear(&load.revisions);
                // Purges among the changes that were skipped stand in no table.
                self.edge.cache.forget();
                tracing::info!(?reason, revisions = ?load.revisions, "loaded the whole configuration");
                *applied = self.applied_from(load, Some(applied));
                return Ok(true);
            }
        };
        self.facts.replica_answered();
        self.topology.heard().hear(&revisions);
        // What lies on disk from an earlier version does not say which epoch of its number it is of.
        applied.revisions.epoch_id = revisions.epoch_id;
        let mut is_new = false;
        if revisions.authority > applied.revisions.authority {
            let changes: Vec<_> = changes.into_iter().filter_map(|change| self.readable(change)).collect();
            // Before the revision is confirmed, published or reported.
            purge::apply(&self.edge.cache, &changes);
            self.journal.applied(Record::of(applied.revisions.authority, &revisions, &changes));
            applied.authority = Arc::new(applied.authority.with(changes));
            applied.revisions.authority = revisions.authority;
            is_new = true;
        }
        if revisions.structural > applied.structural_seen {
            // The authority lane waits for nothing: what was applied above must be published whatever becomes of this.
            match revision::structure(reader).await {
                Ok(load) => is_new |= self.take_structure(applied, load),
                Err(error) => self.facts.database_failed(&error),
            }
        }
        if is_new {
            applied.booted_from = None;
        }
        Ok(is_new)
    }

    /// Puts a newer structure in force, if it compiles. True when it did.
    fn take_structure(&self, applied: &mut Applied, load: StructureLoad) -> bool {
        if !load.revisions.are_of_one_epoch(&applied.revisions) {
            // Promoted since the authority was read: the next look loads everything.
            return false;
        }
        applied.structural_seen = load.revisions.structural;
        self.facts.bad_structure.store(0, Ordering::Relaxed);
        Self::quarantine(&load.quarantined, &self.facts.bad_structure);
        let Some(structure) = self.compile(&load.document, load.revisions.structural, &load.quarantined) else { return false };
        applied.structure = Arc::new(structure);
        applied.document = Arc::new(load.document);
        applied.revisions.structural_epoch = load.revisions.structural_epoch;
        applied.revisions.structural = load.revisions.structural;
        true
    }

    /// A change that can be applied; of one that cannot be read, the key it names stops working, or everything stored is purged.
    fn readable(&self, change: Change) -> Option<AuthorityChange> {
        match change.result {
            Ok(change) => Some(change),
            Err(bad) => {
                Self::quarantine(std::slice::from_ref(&bad), &self.facts.bad_authority);
                KeyId::parse(&bad.entity).map(|id| AuthorityChange::KeyRemoved { id }).or_else(|| purge::in_place_of(&bad))
            }
        }
    }

    fn publish(&self, applied: &Applied, writers: &Writers) {
        let mut known: HashMap<Arc<str>, Arc<str>> = self.facts.known_writers.lock().clone();
        known.extend(writers.0.iter().map(|(domain, region)| (Arc::clone(domain), Arc::clone(region))));
        self.facts.known_writers.lock().clone_from(&known);
        let snapshot = Snapshot {
            revisions: applied.revisions,
            structure: Arc::clone(&applied.structure),
            authority: Arc::clone(&applied.authority),
            writers: Arc::new(known),
            booted_from: applied.booted_from,
        };
        match self.edge.current.publish(Arc::new(snapshot)) {
            Ok(()) => {
                self.journal.published();
                tracing::debug!(revisions = ?applied.revisions, "published");
            }
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "a snapshot was not published"),
        }
    }
}

/// Whether what a server has may be taken by who has `applied`: it is as new, and of the same history or of a later epoch.
fn follows(load: &Revisions, applied: &Revisions) -> bool {
    !applied.contradicts(load) && (load.epoch, load.authority) >= (applied.epoch, applied.authority)
}

/// The structure stays what it was, and is called what it was: its number means something else in another epoch.
const fn keep_structure(revisions: &mut Revisions, before: &Applied) {
    revisions.structural_epoch = before.revisions.structural_epoch;
    revisions.structural = before.revisions.structural;
}

/// Passes notifications on; they only make polling earlier.
pub async fn listen(topology: Topology, hints: mpsc::Sender<Hint>) {
    let mut pulse = tokio::time::interval(Duration::from_secs(1));
    loop {
        pulse.tick().await;
        let mut replaced = std::pin::pin!(topology.primary_replaced());
        let Ok(primary) = topology.primary() else { continue };
        let Ok(mut stream) = revision::listen(&primary).await else { continue };
        loop {
            let hint = tokio::select! {
                hint = stream.next() => hint,
                // A primary that was replaced may live, and would be listened to for good.
                () = &mut replaced => break,
            };
            let Ok(hint) = hint else { break };
            if hints.send(hint).await.is_err() {
                return;
            }
        }
    }
}
