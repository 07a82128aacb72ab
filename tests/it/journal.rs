//! The sealed journal: what a node says it has written there, a restart without any database does not forget.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use app::sealed::Sealed;
use harness::dev::{Dev, RegionReady};
use harness::node::{Node, Under};
use harness::power::{self, Fdatasync};
use harness::wait;
use model::secret::SecretKey;

use crate::calls::{Calls, Issued};
use crate::operation::Station;

const WITHIN: Duration = Duration::from_secs(20);
/// A route that serves known keys while no database answers.
const LENIENT: &str = "/demo/v1/social/echo";

struct Place {
    dev: Dev,
    calls: Calls,
    region: RegionReady,
    node: Node,
}

impl Place {
    async fn start() -> Self {
        let dev = Dev::start().await.unwrap();
        let calls = Calls::of(dev.ready()).unwrap();
        let region = dev.reader().unwrap().clone();
        let node = Node::adopt(&dev, &region).unwrap();
        Self { dev, calls, region, node }
    }

    fn state(&self) -> PathBuf {
        self.region.node_config.parent().unwrap().join("state")
    }

    fn journals(&self) -> Vec<PathBuf> {
        journals(&self.state())
    }

    /// A member of the node's account of itself, which a node that has just been started cannot give yet.
    async fn fact(&self, member: &str) -> u64 {
        let told = async || self.calls.control(&self.region, "/status").await.ok()?.json()["node"][member].as_u64();
        wait::some(member, WITHIN, told).await.unwrap().0
    }

    async fn answer(&self, key: &str) -> u16 {
        self.calls.get(&self.region, LENIENT, key).await.map_or(0, |answer| answer.status)
    }

    /// A key that is in force, and in the snapshot on disk.
    async fn sealed_key(&self) -> Issued {
        let key = self.calls.issue("journaled").await.unwrap();
        wait::until("the key in force", WITHIN, async || self.answer(&key.secret).await == 200).await.unwrap();
        let applied = self.fact("authority_revision").await;
        let is_sealed = async || self.fact("journaled_revision").await >= applied && self.journals().is_empty();
        wait::until("the key in the snapshot on disk", WITHIN, is_sealed).await.unwrap();
        key
    }

    /// Revokes a key, and waits until the node says that its disk has it. No snapshot is written meanwhile or afterwards.
    async fn revoke_by_journal_alone(&mut self, key: &Issued) {
        let sealed = Sealed::in_folder(&self.state(), SecretKey::new([0; 32])).unwrap();
        let held = wait::some("the file of the next snapshot", WITHIN, async || sealed.hold_next().unwrap()).await.unwrap();
        let before = self.fact("authority_revision").await;
        assert!(self.fact("journaled_revision").await <= before);
        assert_eq!(self.calls.change(&format!("/v1/keys/{}/revoke", key.id), None).await.unwrap().status / 100, 2);
        wait::until("the revocation in the journal", WITHIN, async || self.fact("journaled_revision").await > before).await.unwrap();
        assert_eq!(self.fact("journaled_epoch").await, self.fact("epoch").await);
        assert_eq!(self.answer(&key.secret).await, 401, "what is journaled is in force");
        self.node.kill().await.unwrap();
        drop(held);
        assert!(!self.journals().is_empty());
    }

    /// From here on no server of the control database can be reached by this node.
    fn without_databases(&mut self) {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ports = self.dev.ready().regions.iter().map(|region| format!("127.0.0.1:{}", region.postgres_port)).collect::<Vec<_>>();
        self.node.reconfigure(|text| ports.iter().fold(text.to_owned(), |text, port| text.replace(port, &format!("127.0.0.1:{closed}")))).unwrap();
    }

    /// What the started node answers to a key, once it has begun with what lies on its disk.
    async fn restarted(&mut self, key: &Issued) -> u16 {
        self.node.start(Under::Bare).await.unwrap();
        self.node.wait_ready(WITHIN).await.unwrap();
        let (_, text) = self.calls.readiness(&self.region).await.unwrap();
        assert!(text.contains("read from disk"), "{text}");
        let served = self.answer(self.calls.first_key()).await;
        assert_eq!(served, 200, "a key that is in no journal works on");
        let answer = self.answer(&key.secret).await;
        self.node.kill().await.unwrap();
        answer
    }
}

/// The files of a node's journal.
fn journals(state: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("journal-")).collect()
}

/// R1 and the receipt of a revocation, over a reboot: an acknowledgement rests on this.
#[tokio::test(flavor = "multi_thread")]
async fn revocation_in_the_journal_is_not_forgotten_by_a_restart_without_databases() {
    let mut place = Place::start().await;
    let key = place.sealed_key().await;
    place.revoke_by_journal_alone(&key).await;

    // With the databases: what the dead process has left is of no use once a snapshot of this one is in force.
    let journals = place.journals();
    let kept = place.state().join("kept");
    std::fs::create_dir(&kept).unwrap();
    for path in journals.iter().chain([&place.state().join("snapshot.sealed")]) {
        std::fs::copy(path, kept.join(path.file_name().unwrap())).unwrap();
    }
    place.node.start(Under::Bare).await.unwrap();
    let is_swept = async || journals.iter().all(|path| !path.exists());
    wait::until("the end of what the dead process has left", WITHIN, is_swept).await.unwrap();
    assert_eq!(place.answer(&key.secret).await, 401);
    place.node.kill().await.unwrap();

    // As it was at the kill, and no database.
    place.journals().iter().for_each(|path| std::fs::remove_file(path).unwrap());
    for path in journals.iter().chain([&place.state().join("snapshot.sealed")]) {
        std::fs::copy(kept.join(path.file_name().unwrap()), path).unwrap();
    }
    place.without_databases();
    for _ in 0..2 {
        assert_eq!(place.restarted(&key).await, 401);
    }

    // The snapshot alone does not know of it: without the journal the key would be served.
    place.journals().iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert_eq!(place.restarted(&key).await, 200);
    place.dev.stop().await.unwrap();
}

/// What the node says is on disk survives a power loss; where syncs do nothing, it does not.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "a skip is never silent")]
async fn revocation_in_the_journal_survives_a_power_loss_and_without_syncs_it_would_not() {
    if power::strace().is_err() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    for (fdatasync, expected) in [(Fdatasync::Real, 401), (Fdatasync::Removed, 200)] {
        let mut place = Place::start().await;
        let key = place.sealed_key().await;
        place.node.kill().await.unwrap();
        place.node.start(Under::Trace(fdatasync)).await.unwrap();
        let is_sealed = async || place.fact("journaled_revision").await > 0;
        wait::until("a snapshot of the traced process", WITHIN, is_sealed).await.unwrap();

        place.revoke_by_journal_alone(&key).await;
        let trace = place.node.trace().unwrap();
        let loss = trace.drop_unsynced(&place.state()).unwrap();

        // Whatever is written in place is synced by fsync in the end, which is not removed: the snapshot is whole.
        assert_eq!(loss.bytes > 0, fdatasync == Fdatasync::Removed, "{loss:?}");
        place.without_databases();
        assert_eq!(place.restarted(&key).await, expected, "{fdatasync:?}");
        place.dev.stop().await.unwrap();
    }
}

/// At a hand-over the new process has loaded what it needs, and what it journals goes on from what the old one has.
#[tokio::test(flavor = "multi_thread")]
async fn journals_of_two_processes_are_one_after_a_hand_over() {
    let station = Station::start(|text| text + "handover: { socket: run.sock }\n").await;
    let mut old = station.serve().await;
    let state = station.folder().join("state");
    let answer = async |key: &Issued| station.calls.get(&station.region, LENIENT, &key.secret).await.map_or(0, |answer| answer.status);
    let becomes = async |key: &Issued, expected: u16| wait::until("the answer", WITHIN, async || answer(key).await == expected).await.unwrap();
    let fact = async |member: &str| station.calls.control(&station.region, "/status").await.unwrap().json()["node"][member].as_u64().unwrap();
    let revoke = async |key: &Issued| assert_eq!(station.calls.change(&format!("/v1/keys/{}/revoke", key.id), None).await.unwrap().status, 200);
    // A file with a record in it.
    let journals = || journals(&state).into_iter().filter(|path| std::fs::metadata(path).is_ok_and(|file| file.len() > 24)).collect::<Vec<_>>();
    // The primary may not be known yet.
    let issue = async |name| wait::some("a key", WITHIN, async || station.calls.issue(name).await.ok()).await.unwrap().0;
    let (by_old, by_new) = (issue("old").await, issue("new").await);
    becomes(&by_old, 200).await;
    becomes(&by_new, 200).await;
    let is_sealed = async || fact("journaled_revision").await >= fact("authority_revision").await && journals().is_empty();
    wait::until("the keys in the snapshot on disk", WITHIN, is_sealed).await.unwrap();

    let sealed = Sealed::in_folder(&state, SecretKey::new([0; 32])).unwrap();
    let held = wait::some("the file of the next snapshot", WITHIN, async || sealed.hold_next().unwrap()).await.unwrap();
    revoke(&by_old).await;
    wait::until("the journal of the old process", WITHIN, async || journals().len() == 1).await.unwrap();
    let first = journals();
    let new = station.launch(|_| {});
    let took_over = wait::until("a take-over", WITHIN, async || new.said("took over; the process before finishes")).await;
    assert!(took_over.is_ok(), "{}\n{}", old.log(), new.log());
    assert_eq!(old.ended(WITHIN).await, Some(0), "{}", old.log());
    assert_eq!(fact("journaled_revision").await, 0, "no snapshot of the new process is on disk");
    becomes(&by_old, 401).await;
    revoke(&by_new).await;
    becomes(&by_new, 401).await;
    wait::until("the journal of the new process", WITHIN, async || journals().len() == 2).await.unwrap();
    drop((new, held));

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ports: Vec<_> = station.dev.ready().regions.iter().map(|region| format!("127.0.0.1:{}", region.postgres_port)).collect();
    station.edit(|text| ports.iter().fold(text, |text, port| text.replace(port, &format!("127.0.0.1:{closed}"))));
    let second: Vec<_> = journals().into_iter().filter(|path| !first.contains(path)).collect();
    for (removed, expected) in [(&[][..], [401, 401]), (&second, [401, 200]), (&first, [200, 200])] {
        for path in removed {
            std::fs::remove_file(path).unwrap();
        }
        let node = station.serve().await;
        assert_eq!([answer(&by_old).await, answer(&by_new).await], expected, "{}", node.log());
        drop(node);
    }
    station.stop().await;
}
