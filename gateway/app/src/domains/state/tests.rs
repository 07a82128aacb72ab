use std::sync::Arc;

use edge::positions::{ServerId, View};
use model::{
    position::{Epochs, Lsn, Position},
    structure::DomainServer,
};
use store::sample::Sample;
use tokio::sync::watch;

use super::{Shared, Writers};

/// Servers `a` in `eu`, `b` in `us` and `c` in `us`; nothing is known.
struct Place {
    shared: Shared,
    view: watch::Receiver<Arc<View>>,
    writers: watch::Receiver<Writers>,
}

impl Place {
    fn new() -> Self {
        let (told, writers) = watch::channel(Writers::default());
        let (shared, view) = Shared::new("shop".into(), told);
        shared.change(&[server(0, "a:1", "eu"), server(1, "b:1", "us"), server(2, "c:1", "us")]);
        Self { shared, view, writers }
    }

    /// Servers `a`, the primary in its first epoch at 100, and `b`, its standby at 90.
    fn settled() -> Self {
        let place = Self::new();
        place.record(0, primary(1, 100, 1));
        place.settle();
        place.record(1, standby(Some(1), 90, 2));
        place
    }

    fn record(&self, id: u32, sample: Sample) {
        self.shared.record(ServerId(id), Some(sample), self.shared.replayed());
    }

    fn silent(&self, id: u32) {
        self.shared.record(ServerId(id), None, None);
    }

    /// Does what the control database would.
    fn settle(&self) {
        let (id, timeline) = (0..4).find_map(|id| Some((ServerId(id), self.shared.wants_history(ServerId(id))?))).unwrap();
        self.shared.learn_history(id, timeline, None);
        let found = self.shared.found().unwrap();
        let known = Arc::clone(&self.view.borrow().epochs);
        let begun = known.begin(&found, model::time::UtcMicros(0));
        self.shared.learn(&Epochs::new(known.iter().cloned().chain([begun]).collect()));
    }

    fn settled_epochs(&self, expected: usize) {
        assert_eq!(self.view.borrow().epochs.iter().count(), expected);
        assert_eq!(self.shared.found(), None);
    }

    fn positions(&self) -> [Option<(u32, u64)>; 3] {
        let view = self.view.borrow();
        std::array::from_fn(|index| view.servers[index].position.map(|at| (at.epoch, at.lsn.0)))
    }
}

fn server(id: u32, address: &str, region: &str) -> (ServerId, DomainServer) {
    (ServerId(id), DomainServer { address: address.into(), region: region.into(), is_read: true })
}

fn sample(in_recovery: bool, lsn: u64, connection: u64) -> Sample {
    Sample { in_recovery, lsn: Some(lsn), timeline: None, followed_timeline: None, system_identifier: 7, started_at: 1, rtt_us: 10, connection }
}

fn primary(timeline: u32, lsn: u64, connection: u64) -> Sample {
    Sample { timeline: Some(timeline), ..sample(false, lsn, connection) }
}

fn standby(followed_timeline: Option<u32>, lsn: u64, connection: u64) -> Sample {
    Sample { followed_timeline, ..sample(true, lsn, connection) }
}

#[test]
fn a_position_is_known_once_its_epoch_is() {
    let place = Place::new();
    place.record(0, primary(1, 100, 1));
    place.record(1, standby(Some(1), 90, 2));
    assert_eq!(place.positions(), [None, None, None], "no epoch is known");
    assert_eq!(place.writers.borrow().0.get("shop").map(|region| &**region), Some("eu"), "where writes go needs none");
    assert_eq!(place.shared.found(), None, "its history was not asked for");
    place.settle();
    assert_eq!(place.positions(), [Some((1, 100)), Some((1, 90)), None]);
    assert_eq!(place.shared.found(), None, "it is known");
    place.silent(1);
    assert_eq!(place.positions(), [Some((1, 100)), None, None], "who says nothing shows nothing");
}

#[test]
fn a_standby_without_a_receiver_keeps_what_it_showed_over_the_same_connection() {
    let place = Place::settled();
    place.record(1, standby(None, 99, 2));
    assert_eq!(place.positions()[1], Some((1, 90)), "and gains nothing: nobody knows of which timeline that is");
    assert!(place.view.borrow().servers[1].is_held, "what it shows may be more");
    place.record(1, standby(None, 90, 2));
    assert!(!place.view.borrow().servers[1].is_held, "it is where it was");
    place.record(1, standby(None, 99, 3));
    assert_eq!(place.positions()[1], None, "another connection (T11)");
    place.record(1, standby(Some(1), 80, 3));
    assert_eq!(place.positions()[1], Some((1, 80)), "below what it showed before");
    place.record(1, standby(Some(2), 95, 3));
    assert_eq!(place.positions()[1], Some((1, 80)), "a timeline that nobody has begun");
}

#[test]
fn a_promotion_begins_an_epoch_where_the_standby_was_last_seen() {
    let place = Place::settled();
    place.record(2, standby(Some(1), 85, 3));
    place.silent(0);
    place.record(1, primary(2, 120, 2));
    assert_eq!(place.positions(), [None, None, Some((1, 85))], "its own is not known before its epoch");
    place.settle();
    assert_eq!(place.positions(), [None, Some((2, 120)), Some((1, 85))]);
    place.record(2, standby(Some(2), 110, 3));
    assert_eq!(place.positions()[2], Some((2, 110)));
    assert_eq!(place.writers.borrow().0.get("shop").map(|region| &**region), Some("us"));
    let view = place.view.borrow();
    let at = |lsn| Position { epoch: 1, lsn: Lsn(lsn) };
    assert!(view.epochs.survives(at(90), 2) && view.has_lost(at(91)), "{:?}", view.epochs);
}

/// Another node may have seen what this one has not: it begins the epoch with a fork, if this one lets it.
#[test]
fn who_cannot_say_what_survived_waits_for_one_who_can() {
    let place = Place::settled();
    place.silent(0);
    // Over a new connection: what the standby has shown before is no lower bound any more.
    place.record(1, primary(2, 120, 9));
    assert_eq!(place.shared.wants_history(ServerId(1)), Some(2));
    place.shared.learn_history(ServerId(1), 2, None);
    assert_eq!(place.shared.found(), None, "not yet");
    // Its history says it after all.
    place.shared.learn_history(ServerId(1), 2, Some(vec![(1, Lsn(95))]));
    assert_eq!(place.shared.found().unwrap().history, Some(vec![(1, Lsn(95))]));
    place.shared.learn_history(ServerId(1), 3, None);
    assert!(place.shared.found().unwrap().history.is_some(), "of another timeline");
}

/// It writes the timeline that it wrote before, and less than its standby has.
#[test]
fn a_primary_that_was_set_back_begins_an_epoch_that_has_nothing() {
    let place = Place::settled();
    place.record(0, primary(1, 89, 5));
    assert_eq!(place.positions()[0], None, "it is not what it was");
    place.settle();
    let view = Arc::clone(&place.view.borrow());
    assert_eq!(view.servers[0].position, Some(Position { epoch: 2, lsn: Lsn(89) }));
    assert!(view.has_lost(Position { epoch: 1, lsn: Lsn(1) }));
    place.record(1, standby(Some(1), 95, 7));
    assert_eq!(place.positions()[1], None, "two epochs have its timeline");
}

/// A crash takes what was not on disk, and no standby had that.
#[test]
fn a_primary_that_lost_what_was_not_on_disk_goes_on_with_its_epoch() {
    let place = Place::settled();
    place.record(0, primary(1, 95, 5));
    assert_eq!(place.positions()[0], Some((1, 95)));
    assert_eq!(place.shared.found(), None);
}

/// Its answer was under way while the standby moved on.
#[test]
fn a_far_primary_whose_answer_is_old_was_not_set_back() {
    let place = Place::settled();
    let before = place.shared.replayed();
    place.record(1, standby(Some(1), 180, 2));
    place.shared.record(ServerId(0), Some(primary(1, 120, 1)), before);
    assert_eq!(place.positions(), [Some((1, 120)), Some((1, 180)), None]);
    place.settled_epochs(1);
}

/// The old one goes on, on its own timeline.
#[test]
fn of_two_primaries_the_newest_is_the_writer() {
    let place = Place::settled();
    place.record(1, primary(2, 120, 2));
    place.settle();
    place.record(0, primary(1, 500, 1));
    let view = place.view.borrow();
    assert_eq!((view.primary, view.writer().map(|pin| pin.epoch)), (Some(ServerId(1)), Some(2)));
    assert_eq!(view.servers[0].position, Some(Position { epoch: 1, lsn: Lsn(500) }));
}

/// The old one answers while the new one is silent for a moment, or before its epoch is known.
#[test]
fn a_primary_that_was_replaced_does_not_come_back_when_the_new_one_is_silent() {
    let place = Place::settled();
    place.record(1, primary(2, 120, 2));
    place.silent(1);
    place.record(0, primary(1, 500, 1));
    let view = Arc::clone(&place.view.borrow());
    assert_eq!((view.primary, view.writer()), (Some(ServerId(1)), None), "nobody is asked in its place");
    place.record(1, standby(Some(2), 120, 7));
    assert_eq!(place.view.borrow().primary, None, "it follows now, and the old one is still none");
}

/// Two standbys were promoted apart, and write one number.
#[test]
fn what_follows_a_timeline_that_two_write_is_of_neither() {
    let place = Place::settled();
    place.record(1, primary(2, 120, 2));
    place.settle();
    place.silent(1);
    place.silent(0);
    place.record(2, primary(2, 130, 3));
    assert_eq!(place.view.borrow().unknown_primary(), Some(ServerId(2)));
    place.record(0, standby(Some(2), 125, 8));
    assert_eq!(place.positions()[0], None);
}

/// A control database that was restored forgets rows; what a node knows stays known.
#[test]
fn epochs_are_not_forgotten() {
    let place = Place::settled();
    place.shared.learn(&Epochs::default());
    assert_eq!(place.positions()[0], Some((1, 100)));
}

/// The old primary is cut off from this node, which has not seen the new one either; another node has begun that one's epoch.
#[test]
fn a_silent_primary_is_none_once_another_servers_epoch_is_known() {
    let place = Place::settled();
    let other = Place::settled();
    other.silent(0);
    other.record(1, primary(2, 95, 2));
    other.settle();

    place.silent(0);
    place.silent(1);
    assert_eq!(place.view.borrow().primary, Some(ServerId(0)), "it stays for as long as nobody knows better");
    assert!(!place.view.borrow().lacks_writer());
    place.shared.learn(&other.view.borrow().epochs);
    assert!(place.view.borrow().primary.is_none() && place.view.borrow().lacks_writer(), "what is written there is not of the newest epoch");
    place.record(1, primary(2, 99, 3));
    assert_eq!(place.view.borrow().primary, Some(ServerId(1)));
    assert!(!place.view.borrow().lacks_writer());

    // Whoever writes the newest epoch stays its primary while it is silent.
    place.silent(1);
    assert_eq!(place.view.borrow().primary, Some(ServerId(1)));
    assert!(!place.view.borrow().lacks_writer());
}

#[test]
fn how_far_away_a_region_is_follows_what_its_nearest_server_takes_and_not_each_tremble() {
    let place = Place::settled();
    let ask = |rtt_us| place.record(1, Sample { rtt_us, ..standby(Some(1), 90, 2) });
    let away = || ["eu", "us", "ap"].map(|region| place.view.borrow().rtt_us(region));
    assert_eq!(away(), [10, 10, u64::MAX], "of the last nobody knows");
    (0..100).for_each(|_| ask(80_000));
    let [_, settled, _] = away();
    assert!((60_000..=80_000).contains(&settled), "{settled}");
    let before = Arc::clone(&place.view.borrow());
    for rtt_us in [75_000, 90_000, 70_000, 85_000] {
        ask(rtt_us);
    }
    assert!(Arc::ptr_eq(&before, &place.view.borrow()), "nobody is woken by that");
    place.record(2, Sample { rtt_us: 300, ..standby(Some(1), 90, 3) });
    assert_eq!(away()[1], 300, "the nearest of its servers");
}

#[test]
fn servers_come_and_go_and_what_is_known_of_the_others_stays() {
    let place = Place::settled();
    let before = Arc::clone(&place.view.borrow());
    let set = before.pins("eu").unwrap();
    let [a, _, c] = [server(0, "a:1", "eu"), server(1, "b:1", "us"), server(2, "c:1", "us")];
    place.shared.change(&[server(3, "d:1", "ap"), c, a.clone()]);
    let view = Arc::clone(&place.view.borrow());
    assert_eq!(view.servers.iter().map(|shown| &*shown.address).collect::<Vec<_>>(), ["d:1", "c:1", "a:1"], "in the order of the document");
    assert_eq!((view.writer(), view.pins("eu")), (before.writer(), Some(set)), "over the same connection");
    assert_eq!(place.positions(), [None, None, Some((1, 100))]);

    place.record(1, standby(Some(1), 99, 2));
    assert_eq!(*place.view.borrow(), view, "what one says that is gone counts for nothing");
    place.record(3, standby(Some(1), 95, 4));
    assert_eq!(place.positions(), [Some((1, 95)), None, Some((1, 100))]);

    // The primary moved to another region's services, and is not read by them.
    let mut moved = server(0, "a:1", "us");
    moved.1.is_read = false;
    place.shared.change(&[moved, server(3, "d:1", "ap")]);
    let view = Arc::clone(&place.view.borrow());
    assert_eq!((view.servers[0].region.as_ref(), view.servers[0].is_read), ("us", false));
    assert_eq!(view.writer(), before.writer());
    assert_eq!(place.writers.borrow().0.get("shop").map(|region| &**region), Some("us"));
}

#[test]
fn a_primary_that_the_document_takes_away_is_none_and_its_epoch_is_not_forgotten() {
    let place = Place::settled();
    place.shared.change(&[server(1, "b:1", "us")]);
    let view = Arc::clone(&place.view.borrow());
    assert!(view.primary.is_none() && view.lacks_writer() && view.epochs.iter().count() == 1, "{view:?}");
    assert_eq!(place.writers.borrow().0.get("shop").map(|region| &**region), Some("eu"), "until another one is seen");
    // It comes back under another name: as a server that nobody has asked yet.
    place.shared.change(&[server(4, "a:1", "eu"), server(1, "b:1", "us")]);
    assert_eq!(place.view.borrow().writer(), None);
    place.record(4, primary(1, 120, 8));
    assert_eq!(place.view.borrow().writer().map(|pin| (pin.server, pin.epoch)), Some((ServerId(4), 1)), "and writes the epoch that it wrote");
    // One that was promoted and is taken away before its epoch is begun is waited for no more.
    place.record(1, primary(2, 130, 2));
    assert_eq!(place.view.borrow().unknown_primary(), Some(ServerId(1)));
    place.shared.change(&[server(4, "a:1", "eu")]);
    assert_eq!((place.shared.wants_history(ServerId(1)), place.shared.found()), (None, None));
    assert_eq!(place.view.borrow().writer(), None, "what was replaced stays replaced");
}
