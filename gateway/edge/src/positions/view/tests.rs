use std::sync::Arc;

use model::position::{Epoch, Epochs, Fork, Lsn, Position, Writer};

use super::{Merged, Pin, ServerId, Shown, Standing, View};

fn at(epoch: u32, lsn: u64) -> Position {
    Position { epoch, lsn: Lsn(lsn) }
}

/// Epoch 2 left epoch 1 at 60.
fn epochs() -> Arc<Epochs> {
    let epoch = |number, server: &str, fork| Epoch { number, writer: Writer { system_identifier: 7, timeline: number, server: server.into() }, fork };
    Arc::new(Epochs::new(vec![epoch(1, "a", None), epoch(2, "b", Some(Fork { parent: 1, at: Lsn(60) }))]))
}

fn shown(id: u32, region: &str, is_read: bool, position: Option<Position>) -> Shown {
    let address = format!("{id}:5432").into();
    Shown { id: ServerId(id), address, region: region.into(), is_read, is_primary: id == 0, position, is_held: false, connection: 5, rtt_us: None }
}

/// The primary and its idle standby in `eu`, two standbys in `us`, none in `ap`.
fn view(primary: u64, idle: Option<Position>, first: Option<Position>, second: Option<Position>) -> View {
    View {
        epochs: epochs(),
        primary: Some(ServerId(0)),
        servers: [
            shown(0, "eu", false, Some(at(2, primary))),
            shown(1, "eu", false, idle),
            shown(2, "us", true, first),
            shown(3, "us", true, second),
        ]
        .into(),
    }
}

#[test]
fn a_region_has_what_all_servers_have_that_it_reads() {
    let up = |lsn| Some(at(2, lsn));
    for (what, view, region, wanted, expected) in [
        ("both have it", view(100, None, up(80), up(90)), "us", at(2, 80), Standing::Has),
        ("one is behind (T3)", view(100, None, up(79), up(90)), "us", at(2, 80), Standing::Behind),
        ("the other is behind", view(100, None, up(90), up(79)), "us", at(2, 80), Standing::Behind),
        ("one does not answer", view(100, None, up(90), None), "us", at(2, 80), Standing::Unknown),
        ("one is of another epoch", view(100, None, up(90), Some(at(1, 90))), "us", at(2, 80), Standing::Unknown),
        ("all are of another epoch (T2)", view(100, None, Some(at(1, 90)), Some(at(1, 90))), "us", at(1, 10), Standing::Unknown),
        ("nobody reads the idle one", view(100, None, up(1), up(1)), "eu", at(2, 100), Standing::Has),
        ("nor what it has", view(100, up(3), up(1), up(1)), "eu", at(2, 100), Standing::Has),
        ("the primary has all of its epoch", view(100, None, up(1), up(1)), "eu", at(2, 101), Standing::Has),
        ("also what nobody knows the place of", view(100, None, up(1), up(1)), "eu", at(2, u64::MAX), Standing::Has),
        ("a standby has not", view(100, None, up(100), up(100)), "us", at(2, u64::MAX), Standing::Behind),
        ("what survived", view(100, None, up(70), up(70)), "us", at(1, 60), Standing::Has),
        ("what survived, not yet there", view(100, None, up(59), up(70)), "us", at(1, 60), Standing::Behind),
        ("what did not survive (T2)", view(100, None, up(100), up(100)), "us", at(1, 61), Standing::Unknown),
        ("not even at the primary", view(100, None, up(100), up(100)), "eu", at(1, 61), Standing::Unknown),
        ("of an epoch that is to come", view(100, None, up(100), up(100)), "eu", at(3, 1), Standing::Unknown),
        ("without any server", view(100, None, up(100), up(100)), "ap", at(2, 1), Standing::Unknown),
    ] {
        assert_eq!(view.standing(region, wanted), expected, "{what}");
    }
}

#[test]
fn a_primary_that_was_replaced_counts_for_nothing() {
    let mut view = view(100, None, Some(at(2, 90)), Some(at(2, 90)));
    view.servers[1] = Shown { is_primary: true, ..shown(1, "eu", true, Some(at(1, 500))) };
    assert_eq!(view.standing("eu", at(2, 80)), Standing::Unknown, "it is read, and of an epoch that is over");
    assert_eq!(view.writer(), Some(Pin { server: ServerId(0), epoch: 2, connection: 5 }));
    view.primary = Some(ServerId(1));
    assert_eq!(view.writer(), None, "no writer of the newest epoch is known");
    view.servers[1].is_read = false;
    view.primary = None;
    assert_eq!(view.standing("eu", at(2, 80)), Standing::Unknown, "a region without a primary reads nobody");
    assert_eq!(view.pins("eu"), Some(Vec::new()));
}

#[test]
fn a_pin_holds_over_one_connection_and_in_one_epoch() {
    let view = view(100, None, Some(at(2, 80)), Some(at(2, 90)));
    let pins = view.pins("us").unwrap();
    assert_eq!(pins.iter().map(|pin| pin.server).collect::<Vec<_>>(), [ServerId(2), ServerId(3)]);
    let now = shown(2, "us", true, Some(at(2, 85)));
    assert_eq!(pins[0].still(Some(&now)), Some(at(2, 85)));
    assert_eq!(pins[0].still(Some(&Shown { connection: 6, ..now.clone() })), None, "it was restarted (T11)");
    assert_eq!(pins[0].still(Some(&Shown { position: Some(at(3, 85)), ..now.clone() })), None, "it is of another epoch");
    assert_eq!(pins[0].still(Some(&Shown { position: None, ..now.clone() })), None);
    assert_eq!(pins[0].still(Some(&Shown { is_held: true, ..now.clone() })), None, "it may have shown more than it says");
    assert_eq!(pins[0].still(None), None);
    let gone = self::view(100, None, Some(at(2, 80)), None);
    assert_eq!(gone.pins("us"), None);
}

#[test]
fn a_merge_takes_the_newer_position_and_hides_no_loss() {
    let view = view(100, None, None, None);
    let merged = |position, is_lost| Merged { position, is_lost };
    for (has, new, expected) in [
        (None, at(2, 5), merged(at(2, 5), false)),
        (Some(at(2, 9)), at(2, 5), merged(at(2, 9), false)),
        (Some(at(2, 5)), at(2, 9), merged(at(2, 9), false)),
        (Some(at(1, 60)), at(2, 5), merged(at(2, 5), false)),
        (Some(at(1, 61)), at(2, 5), merged(at(2, 5), true)),
        (Some(at(2, 5)), at(1, 99), merged(at(2, 5), false)),
        (Some(at(2, u64::MAX)), at(2, 70), merged(at(2, 70), false)),
        (Some(at(1, u64::MAX)), at(2, 70), merged(at(2, 70), true)),
        (Some(at(2, 5)), at(2, u64::MAX), merged(at(2, u64::MAX), false)),
    ] {
        assert_eq!(view.merge(has, new), expected, "{has:?} {new:?}");
    }
    assert!(view.has_lost(at(1, 61)) && !view.has_lost(at(1, 60)) && !view.has_lost(at(2, u64::MAX)) && !view.has_lost(at(3, 1)));
    assert!(!View::default().has_lost(at(1, 1)), "nothing is known, and nothing is lost");
}

/// `ap` is nearest by name, `us` in truth.
#[test]
fn of_others_that_have_it_the_nearest_is_the_one_that_answers_soonest() {
    let mut view = view(100, None, Some(at(2, 80)), Some(at(2, 90)));
    assert_eq!(view.rtt_us("us"), u64::MAX);
    view.servers[2].rtt_us = Some(80_000);
    view.servers[3].rtt_us = Some(70_000);
    assert_eq!((view.rtt_us("us"), view.rtt_us("eu"), view.rtt_us("mars")), (70_000, u64::MAX, u64::MAX));
}

#[test]
fn how_far_a_region_is_behind_is_what_its_last_server_is() {
    assert_eq!(view(100, None, Some(at(2, 80)), Some(at(2, 90))).lag_bytes("us"), Some(20));
    assert_eq!(view(100, None, Some(at(2, 80)), None).lag_bytes("us"), None);
    assert_eq!(view(100, None, None, None).lag_bytes("eu"), Some(0));
    assert_eq!(view(100, None, None, None).lag_bytes("ap"), None);
}

#[test]
fn a_set_stays_one_while_others_come_and_go_and_none_joins_it() {
    let up = |lsn| Some(at(2, lsn));
    let chosen = view(100, None, up(80), up(90));
    let set = chosen.pins("us").unwrap();
    let with = |change: &dyn Fn(&mut Vec<Shown>)| {
        let mut servers = chosen.servers.to_vec();
        change(&mut servers);
        View { servers: servers.into(), ..chosen.clone() }
    };
    for (what, view, is_set) in [
        ("as it was", chosen.clone(), true),
        ("one of another region came first", with(&|servers| servers.insert(0, shown(9, "eu", true, None))), true),
        ("one of another region is gone", with(&|servers| drop(servers.remove(1))), true),
        ("one came that nobody reads", with(&|servers| servers.insert(0, shown(9, "us", false, None))), true),
        ("the first is not read any more", with(&|servers| servers[2].is_read = false), true),
        ("the first is gone", with(&|servers| drop(servers.remove(2))), true),
        ("one came that is read: the answer may be its", with(&|servers| servers.push(shown(9, "us", true, up(100)))), false),
        ("none of them is read any more", with(&|servers| servers.iter_mut().for_each(|shown| shown.is_read = false)), true),
        (
            "one moved away, and one came",
            with(&|servers| {
                servers[2].region = "ap".into();
                servers.push(shown(9, "us", true, up(100)));
            }),
            false,
        ),
        ("all of them are gone", with(&|servers| servers.retain(|shown| *shown.region == *"eu")), true),
        ("an epoch began", View { epochs: Arc::new(Epochs::new(epochs().iter().take(1).cloned().collect())), ..chosen.clone() }, false),
    ] {
        assert_eq!(view.is_set("us", &set), is_set, "{what}");
    }
    let unread = with(&|servers| servers.insert(0, shown(9, "us", false, None))).with_others("us", &set);
    assert_eq!(unread.iter().map(|pin| pin.server.0).collect::<Vec<_>>(), [2, 3, 9], "it is asked, too: it may have been promoted");
}
