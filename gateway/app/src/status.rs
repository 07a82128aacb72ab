//! What this node says about itself: health, readiness, facts.

mod positions;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, atomic::Ordering},
};

use audit::spool::Spool;
use control::port::{Check, CheckState, DomainServer, NodeFacts, Readiness, Status};
use edge::{metrics::Counters, runtime::Edge};
use model::{change::Revisions, policy::OnStaleDoc, time::UtcMicros};
use parking_lot::Mutex;
use store::topology::{ServerState, Topology};

use crate::{
    certificates::{InForce, Owner},
    expose,
    facts::Facts,
};

/// A revocation list that ends sooner degrades the node; some are made anew every few hours.
const LISTS_END_SOON_SECONDS: i64 = 3_600;

/// A certificate that expires sooner degrades the node: long enough for a working week to notice.
const EXPIRY_NOTICE_DAYS: i64 = 7;

/// This node's state, read when somebody asks.
pub struct NodeStatus {
    /// What the cores share.
    pub edge: Arc<Edge>,
    /// The audit log.
    pub spool: Spool,
    /// The control database.
    pub topology: Topology,
    /// What the tasks have seen.
    pub facts: Arc<Facts>,
    /// The chains in force, and whose they are.
    pub certificates: Vec<(Owner, InForce)>,
    /// The counters of each core.
    pub counters: Vec<Arc<Counters>>,
    /// How each check was seen last, and since when it has been so.
    pub seen: Mutex<HashMap<&'static str, (CheckState, UtcMicros)>>,
}

impl fmt::Debug for NodeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeStatus").field("node", &self.edge.node).finish_non_exhaustive()
    }
}

impl Status for NodeStatus {
    fn live(&self) -> bool {
        true
    }

    fn ready(&self) -> Readiness {
        let checks = vec![
            self.shutdown(),
            self.snapshot(),
            self.structure(),
            self.database(),
            self.authority(),
            self.quorum(),
            self.spool(),
            self.loader(),
            self.disk_snapshot(),
            self.rows(),
            self.domains(),
            self.positions(),
            self.issuers(),
            self.revocation_lists(),
            self.certificates(),
        ];
        let mut checks = checks;
        self.date(&mut checks);
        let ready = checks.iter().all(|check| check.state != CheckState::Failed);
        let degraded = checks.iter().any(|check| check.state != CheckState::Ok);
        Readiness { ready, degraded, checks }
    }

    fn metrics(&self) -> String {
        expose::text(self)
    }

    fn node(&self) -> NodeFacts {
        let revisions = self.edge.current.load().map(|snapshot| snapshot.revisions).unwrap_or_default();
        let journaled = *self.facts.journaled.borrow();
        NodeFacts {
            node: self.edge.node.to_string(),
            region: self.edge.region.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.facts.started_at,
            epoch: revisions.epoch,
            authority_revision: revisions.authority,
            structural_epoch: revisions.structural_epoch,
            structural_revision: revisions.structural,
            journaled_epoch: journaled.epoch,
            journaled_revision: journaled.authority,
            authority_age_ms: self.edge.lease.staleness_nanos(self.edge.clock.boot()).map(|nanos| nanos / 1_000_000),
            quarantined: self.facts.quarantined(),
        }
    }

    fn domain_servers(&self) -> Vec<DomainServer> {
        let snapshot = self.edge.current.load();
        snapshot.map(|snapshot| positions::servers(&self.edge, &snapshot.structure)).unwrap_or_default()
    }

    fn serves_stale(&self) -> bool {
        let stale = |route: &model::structure::Route| !route.auth.is_none() && route.keys.on_stale != OnStaleDoc::Deny;
        self.edge.current.load().is_some_and(|snapshot| snapshot.structure.routes.iter().any(|route| stale(route)))
    }
}

impl NodeStatus {
    /// Writes since when each check has been as it is.
    fn date(&self, checks: &mut [Check]) {
        let now = self.edge.clock.wall();
        let mut seen = self.seen.lock();
        for check in checks {
            let (state, since) = seen.entry(check.name).or_insert((check.state, self.facts.started_at));
            if *state != check.state {
                (*state, *since) = (check.state, now);
            }
            check.since = *since;
        }
    }

    fn domains(&self) -> Check {
        let Some(snapshot) = self.edge.current.load() else { return self.check("domains", CheckState::Ok, "no configuration yet") };
        let unknown: Vec<&str> =
            snapshot.structure.domains.iter().filter(|domain| !snapshot.writers.contains_key(&domain.name)).map(|domain| &*domain.name).collect();
        if unknown.is_empty() {
            self.check("domains", CheckState::Ok, "every domain's primary is known")
        } else {
            self.check(
                "domains",
                CheckState::Degraded,
                format!("no primary is known for: {}; writes to their services are refused", unknown.join(", ")),
            )
        }
    }

    fn positions(&self) -> Check {
        let snapshot = self.edge.current.load();
        let troubles = snapshot.map(|snapshot| positions::troubles(&self.edge, &snapshot.structure)).unwrap_or_default();
        if troubles.is_empty() {
            self.check("positions", CheckState::Ok, "what clients have written can be read where it is")
        } else {
            self.check("positions", CheckState::Degraded, troubles.join("; "))
        }
    }

    fn issuers(&self) -> Check {
        let all = self.edge.issuers.view();
        let faults: Vec<String> = all
            .iter()
            .filter_map(|(name, known)| {
                let stays = if known.keys().is_some() { "the one before is in use" } else { "there is none" };
                Some(format!("the key set of `{name}` cannot be had: {}; {stays}", known.fault()?))
            })
            .collect();
        if faults.is_empty() {
            self.check("issuers", CheckState::Ok, format!("{} key sets are fetched", all.len()))
        } else {
            self.check("issuers", CheckState::Degraded, faults.join("; "))
        }
    }

    fn revocation_lists(&self) -> Check {
        let name = "revocation-lists";
        let Some(snapshot) = self.edge.current.load() else { return self.check(name, CheckState::Ok, "there is no configuration yet".to_owned()) };
        let now = self.edge.clock.wall();
        let lists = || snapshot.structure.authorities.iter().filter_map(|authority| Some((authority, authority.crls_end()?)));
        let soon = now.plus_seconds(LISTS_END_SOON_SECONDS);
        let told: Vec<String> = lists()
            .filter(|(_, end)| *end <= soon)
            .map(|(authority, end)| {
                let what = match (end <= now, authority.vouches_until()) {
                    (false, _) => "ends soon; apply a new one",
                    (true, Some(_)) => "is over, and the certificates of its issuer are refused; apply a new one",
                    (true, None) => "is over; whom its issuer has revoked since is let in, as the document says",
                };
                format!("a revocation list of `{}` {what}", authority.name())
            })
            .collect();
        if told.is_empty() {
            self.check(name, CheckState::Ok, format!("the lists of {} certificate authorities are current", lists().count()))
        } else {
            self.check(name, CheckState::Degraded, told.join("; "))
        }
    }

    /// Days until the first of some certificates expires; negative when one has.
    pub fn certificate_days(&self, chains: &InForce) -> i64 {
        let now = self.edge.clock.wall().0.div_euclid(1_000_000);
        chains.end_unix().saturating_sub(now).div_euclid(86_400)
    }

    fn certificates(&self) -> Check {
        let broken = self.facts.broken_certificates.lock().clone();
        if !broken.is_empty() {
            return self.check("certificates", CheckState::Degraded, format!("{}; what was in force stays", broken.join("; ")));
        }
        let days = self.certificates.iter().map(|(owner, chains)| (owner, self.certificate_days(chains)));
        let Some((owner, days)) = days.min_by_key(|(_, days)| *days) else { return self.check("certificates", CheckState::Ok, "there are none") };
        if days < 0 {
            self.check("certificates", CheckState::Degraded, format!("a certificate of the {owner} is expired: the other end refuses it"))
        } else if days < EXPIRY_NOTICE_DAYS {
            self.check("certificates", CheckState::Degraded, format!("a certificate of the {owner} expires in {days} days"))
        } else {
            self.check("certificates", CheckState::Ok, format!("the first one to expire, of the {owner}, does so in {days} days"))
        }
    }

    fn check(&self, name: &'static str, state: CheckState, detail: impl Into<String>) -> Check {
        Check { name, state, detail: detail.into(), since: self.facts.started_at }
    }

    fn shutdown(&self) -> Check {
        if self.facts.handing_over.load(Ordering::Relaxed) {
            self.check("shutdown", CheckState::Ok, "another process of this node takes over")
        } else if self.facts.draining.load(Ordering::Relaxed) {
            self.check("shutdown", CheckState::Failed, "the node is stopping")
        } else {
            self.check("shutdown", CheckState::Ok, "the node is serving")
        }
    }

    fn snapshot(&self) -> Check {
        match self.edge.current.load() {
            None => self.check("snapshot", CheckState::Failed, "no configuration yet"),
            Some(snapshot) => match snapshot.booted_from {
                None => self.check("snapshot", CheckState::Ok, in_force(&snapshot.revisions)),
                Some(sealed) => self.check(
                    "snapshot",
                    CheckState::Degraded,
                    format!("read from disk, sealed {sealed}; routes with `on_stale: deny` answer 503 until the database confirms it"),
                ),
            },
        }
    }

    fn structure(&self) -> Check {
        match &*self.facts.nack.lock() {
            None => self.check("structure", CheckState::Ok, "the newest structure compiles here"),
            // Revision 0 with a refused one: there is no last good one, every route is unknown here.
            Some(nack) if self.edge.current.load().is_none_or(|snapshot| snapshot.revisions.structural == 0) => self.check(
                "structure",
                CheckState::Failed,
                format!("structural revision {} does not compile here and there is none before it; first mistake: {}", nack.structural, nack.message),
            ),
            Some(nack) => self.check(
                "structure",
                CheckState::Degraded,
                format!("structural revision {} does not compile here and is not served; first mistake: {}", nack.structural, nack.message),
            ),
        }
    }

    fn database(&self) -> Check {
        let view = self.topology.view();
        let down = view.servers.iter().filter(|server| server.state == ServerState::Unreachable).count();
        let (state, detail) = match (view.primary, down) {
            (Some(_), 0) => (CheckState::Ok, format!("{} servers answer", view.servers.len())),
            (Some(_), down) => (CheckState::Degraded, format!("{down} of {} servers do not answer", view.servers.len())),
            (None, _) => {
                (CheckState::Degraded, "the primary does not answer: nothing can be written; serving goes on by each route's policy".to_owned())
            }
        };
        self.check("database", state, detail)
    }

    fn authority(&self) -> Check {
        match self.edge.lease.staleness_nanos(self.edge.clock.boot()) {
            Some(_) if self.bound_is_too_short().is_some() => self.check(
                "authority",
                CheckState::Degraded,
                format!(
                    "confirming keys takes {} ms here, and a route gives up after {} ms: it answers 503 now and then; widen its `max_staleness`, or bring the database nearer",
                    self.facts.confirmation_ms().unwrap_or(0),
                    self.bound_is_too_short().unwrap_or(0)
                ),
            ),
            Some(nanos) if nanos < 2_000_000_000 => self.check("authority", CheckState::Ok, format!("keys confirmed {} ms ago", nanos / 1_000_000)),
            Some(nanos) => self.check(
                "authority",
                CheckState::Degraded,
                format!("keys confirmed {} s ago; routes past their bound follow `on_stale`", nanos / 1_000_000_000),
            ),
            None => self.check("authority", CheckState::Degraded, "keys were not confirmed since the start"),
        }
    }

    /// The narrowest bound of a route that refuses past it, in milliseconds, when what confirms keys takes nearly as long.
    fn bound_is_too_short(&self) -> Option<u64> {
        let snapshot = self.edge.current.load()?;
        let denying = snapshot.structure.routes.iter().filter(|route| !route.auth.is_none() && route.keys.on_stale != OnStaleDoc::Allow);
        let narrowest = denying.map(|route| route.keys.max_staleness_nanos / 1_000_000).min()?;
        // The next confirmation comes one look later.
        self.facts.confirmation_ms().filter(|took| took.saturating_add(took / 4) > narrowest).map(|_| narrowest)
    }

    /// Whether the bound of a revocation can be proved over a promotion. Said in words, and no fault of the node.
    fn quorum(&self) -> Check {
        let view = self.topology.view();
        let detail = match &*self.facts.heartbeat.borrow() {
            None => "not known while the primary does not answer".to_owned(),
            Some(pulse) if !pulse.heart.standbys.is_empty() => {
                format!("commits wait for {}; a server that is not among them must not be promoted", pulse.heart.standbys)
            }
            Some(_) if view.servers.len() > 1 => {
                "commits wait for no standby (`synchronous_standby_names` is empty): a promotion can undo a revocation, and no bound on it can be proved over one"
                    .to_owned()
            }
            Some(_) => "there is one server, and none that could be promoted".to_owned(),
        };
        let domains = self.edge.current.load().map(|snapshot| positions::quorums(&self.edge, &snapshot.structure)).unwrap_or_default();
        self.check("quorum", CheckState::Ok, [detail].into_iter().chain(domains).collect::<Vec<String>>().join("; "))
    }

    fn spool(&self) -> Check {
        let state = self.spool.state();
        let percent = state.fill_permille / 10;
        if state.failed {
            self.check("audit-spool", CheckState::Failed, "a write to the audit spool failed; nothing is served until the node is restarted")
        } else if !state.has_room {
            // The file system may be full long before the operator's limit.
            self.check(
                "audit-spool",
                CheckState::Failed,
                format!("no room for another record ({percent} % of the spool's limit); requests are refused"),
            )
        } else if percent >= 70 {
            self.check("audit-spool", CheckState::Degraded, format!("{percent} % full; at 95 % requests are refused"))
        } else {
            self.check("audit-spool", CheckState::Ok, format!("{percent} % full"))
        }
    }

    fn loader(&self) -> Check {
        let loader = self.facts.loader.lock().clone();
        let leftovers = self.facts.leftovers.lock().clone();
        let behind = self.spool.durable_seq().saturating_sub(loader.loaded_seq);
        match loader.stuck.or(leftovers.stuck) {
            Some(reason) => self.check("audit-loader", CheckState::Degraded, format!("{behind} records wait: {reason}")),
            None => self.check("audit-loader", CheckState::Ok, format!("{behind} records wait")),
        }
    }

    fn disk_snapshot(&self) -> Check {
        if self.facts.seal_failed.load(Ordering::Relaxed) {
            self.check(
                "disk-snapshot",
                CheckState::Degraded,
                "the snapshot could not be written to disk; a restart without the database would be an older one",
            )
        } else if self.facts.journal_failed.load(Ordering::Relaxed) {
            self.check(
                "disk-snapshot",
                CheckState::Degraded,
                "the journal could not be written to disk; until the next snapshot is, a restart without the database would be an older one",
            )
        } else {
            self.check("disk-snapshot", CheckState::Ok, "written")
        }
    }

    fn rows(&self) -> Check {
        match self.facts.quarantined() {
            0 => self.check("rows", CheckState::Ok, "every row could be read"),
            count => self.check("rows", CheckState::Degraded, format!("{count} rows could not be read and are skipped; see the log")),
        }
    }
}

/// The revisions in force, in words.
fn in_force(revisions: &Revisions) -> String {
    let Revisions { epoch, authority, structural_epoch, structural, .. } = revisions;
    let kept = if structural_epoch == epoch { String::new() } else { format!(" of epoch {structural_epoch}") };
    format!("epoch {epoch}, authority {authority}, structure {structural}{kept}")
}
