use super::{Epoch, Epochs, Fork, Found, Lsn, Position, Writer};
use crate::time::UtcMicros;

/// Before epochs were counted by the time.
const PAST: UtcMicros = UtcMicros(0);

fn writer(timeline: u32, server: &str) -> Writer {
    Writer { system_identifier: 7, timeline, server: server.into() }
}

fn epoch(number: u32, timeline: u32, server: &str, fork: Option<(u32, u64)>) -> Epoch {
    Epoch { number, writer: writer(timeline, server), fork: fork.map(|(parent, at)| Fork { parent, at: Lsn(at) }) }
}

fn at(epoch: u32, lsn: u64) -> Position {
    Position { epoch, lsn: Lsn(lsn) }
}

#[test]
fn a_position_survives_along_its_own_line_alone() {
    // 1 -> 2 -> 4, and 3 left 1 on its own, below where 2 did. 5 knows no parent.
    let epochs = Epochs::new(vec![
        epoch(4, 3, "a", Some((2, 80))),
        epoch(1, 1, "p", None),
        epoch(3, 2, "b", Some((1, 40))),
        epoch(2, 2, "a", Some((1, 60))),
        epoch(5, 9, "c", None),
    ]);
    for (position, epoch, expected) in [
        (at(1, 60), 2, true),
        (at(1, 61), 2, false),
        (at(1, 60), 4, true),
        (at(1, 61), 4, false),
        (at(2, 80), 4, true),
        (at(2, 81), 4, false),
        (at(2, 1), 3, false),
        (at(1, 41), 3, false),
        (at(1, 40), 3, true),
        (at(3, 1), 4, false),
        (at(4, 10), 2, false),
        (at(4, 0), 5, false),
        (at(2, u64::MAX), 2, true),
        (at(2, u64::MAX), 4, false),
        (at(6, 1), 4, false),
        (at(6, 1), 6, false),
        (at(1, 1), 6, false),
    ] {
        assert_eq!(epochs.survives(position, epoch), expected, "{position:?} in {epoch}");
    }
    assert_eq!(epochs.newest().unwrap().number, 5);
    assert_eq!(epochs.written_by(&writer(2, "b")).unwrap().number, 3);
    assert_eq!(epochs.followed(7, 2), None, "two of them");
    assert_eq!(epochs.followed(7, 3).unwrap().number, 4);
    assert_eq!(epochs.followed(8, 3), None, "another cluster");
}

/// A fork further up that lies lower, because it is a lower bound, holds for all that came before.
#[test]
fn the_lowest_fork_on_the_way_decides() {
    let epochs = Epochs::new(vec![epoch(1, 1, "p", None), epoch(2, 2, "a", Some((1, 60))), epoch(3, 3, "b", Some((2, 50)))]);
    assert!(epochs.survives(at(1, 50), 3));
    assert!(!epochs.survives(at(1, 55), 3));
}

/// Whatever the rows say, it ends.
#[test]
fn rows_that_name_each_other_prove_nothing() {
    let epochs = Epochs::new(vec![epoch(1, 1, "p", Some((2, 60))), epoch(2, 2, "a", Some((1, 60))), epoch(3, 2, "a", Some((3, 60)))]);
    assert!(!epochs.survives(at(2, 1), 1));
    assert!(epochs.survives(at(1, 1), 2));
    assert!(!epochs.survives(at(1, 1), 3));
}

#[test]
fn an_epoch_begins_where_it_is_known_to_have_left_another_one() {
    let epochs = Epochs::new(vec![epoch(1, 1, "p", None), epoch(2, 2, "a", Some((1, 60))), epoch(3, 2, "b", Some((1, 40)))]);
    let found = |history: Option<Vec<(u32, Lsn)>>, followed| Found { writer: writer(3, "c"), history, followed, set_back_from: None };
    let begun = |found: &Found| epochs.begin(found, PAST).fork.map(|fork| (fork.parent, fork.at.0));

    assert_eq!(epochs.begin(&found(None, None), PAST).number, 4);
    assert_eq!(Epochs::default().begin(&found(None, None), PAST).number, 1);
    let second_of_2025 = UtcMicros(1_735_689_600_000_000 + 2_500_000);
    assert_eq!(Epochs::default().begin(&found(None, None), second_of_2025).number, 2);
    assert_eq!(epochs.begin(&found(None, None), second_of_2025).number, 4, "never lower");
    assert_eq!(epochs.begin(&found(None, None), UtcMicros(second_of_2025.0 + 60_000_000)).number, 62);
    assert_eq!(begun(&found(None, None)), None);
    assert_eq!(begun(&found(None, Some(at(2, 90)))), Some((2, 90)), "the last that it was seen to have");
    assert_eq!(begun(&found(None, Some(at(9, 90)))), None, "an epoch that nobody knows");
    let history = |timeline| Some(vec![(0, Lsn(5)), (timeline, Lsn(95))]);
    assert_eq!(begun(&found(history(1), Some(at(1, 90)))), Some((1, 95)), "the history says it exactly");
    assert_eq!(begun(&found(history(2), Some(at(2, 90)))), Some((2, 90)), "two have that timeline");
    assert_eq!(begun(&found(history(2), None)), None, "two have that timeline");
    let seen_late = |places: [(u32, u64); 2]| Some(places.map(|(timeline, at)| (timeline, Lsn(at))).to_vec());
    assert_eq!(begun(&found(seen_late([(1, 95), (7, 99)]), None)), Some((1, 95)), "a promotion between them that nobody has seen");
    assert_eq!(begun(&found(seen_late([(1, 95), (7, 80)]), None)), Some((1, 80)), "which left off earlier");
    let other = Found { writer: Writer { system_identifier: 8, ..writer(1, "p") }, ..found(history(1), Some(at(1, 90))) };
    assert_eq!(begun(&other), None, "another cluster has nothing of this one");
    assert_eq!(begun(&Found { set_back_from: Some(1), ..found(history(1), Some(at(1, 90))) }), None, "it was restored");
}

/// A domain may have 10,000 epochs, and every request with an old token goes back through them: with a search through all of them for each
/// step, one answer here took 50 million comparisons.
#[test]
fn a_position_is_followed_through_as_many_epochs_as_there_may_be() {
    let later = |number| epoch(number, number, if number % 2 == 0 { "a" } else { "b" }, Some((number - 1, u64::from(number) * 10)));
    let epochs = Epochs::new(std::iter::once(epoch(1, 1, "b", None)).chain((2..=10_000).map(later)).collect());

    for number in 1..500 {
        let fork = u64::from(number + 1) * 10;
        assert!(epochs.survives(at(number, fork), 10_000) && !epochs.survives(at(number, fork + 1), 10_000), "{number}");
    }
    assert_eq!(epochs.with(&epochs), epochs);
    assert!(epochs.get(0).is_none() && epochs.get(10_001).is_none());
}

#[test]
fn a_primary_that_was_set_back_begins_one_epoch_whoever_saw_it() {
    let mut epochs = Epochs::new(vec![epoch(1, 1, "p", None), epoch(2, 2, "a", Some((1, 60)))]);
    let found = |timeline, server, set_back_from| Found { writer: writer(timeline, server), history: None, followed: None, set_back_from };
    let goes_on = |epochs: &Epochs, found: &Found| epochs.goes_on(found).map(|epoch| epoch.number);

    assert_eq!(goes_on(&epochs, &found(2, "a", None)), Some(2));
    assert_eq!(goes_on(&epochs, &found(1, "p", None)), Some(1), "an old primary writes what it wrote");
    assert_eq!(goes_on(&epochs, &found(2, "b", None)), None);
    let set_back = found(2, "a", Some(2));
    assert_eq!(goes_on(&epochs, &set_back), None);
    epochs = Epochs::new(epochs.iter().cloned().chain([epochs.begin(&set_back, PAST)]).collect());
    assert_eq!(goes_on(&epochs, &set_back), Some(3), "another node has begun it");
    assert_eq!(goes_on(&epochs, &found(2, "a", Some(3))), None, "once more");
}

#[test]
fn places_are_read_as_postgresql_writes_them() {
    for (text, expected) in [("0/0", 0), ("16/B374D848", 0x16_B374_D848), ("FFFFFFFF/FFFFFFFF", u64::MAX), ("16/b374d848", 0x16_B374_D848)] {
        assert_eq!(Lsn::parse(text), Some(Lsn(expected)), "{text}");
        assert_eq!(Lsn::parse(&Lsn(expected).to_string()), Some(Lsn(expected)), "{text}");
    }
    assert_eq!(Lsn(0x16_B374_D848).to_string(), "16/B374D848");
    for text in ["", "/", "1/", "/1", "1", "1/2/3", "+1/2", "1/ 2", "123456789/0", "0/123456789", "g/0", "0/-1"] {
        assert_eq!(Lsn::parse(text), None, "{text}");
    }
}

#[test]
fn epochs_are_joined_and_a_writer_that_was_replaced_begins_none() {
    let [first, second, third] = [epoch(1, 1, "p", None), epoch(5, 2, "a", Some((1, 60))), epoch(9, 3, "b", None)];
    let (here, there) = (Epochs::new(vec![first.clone(), second.clone()]), Epochs::new(vec![first.clone(), third.clone()]));
    assert_eq!(here.with(&there), Epochs::new(vec![first, second, third]));
    assert_eq!(here.with(&Epochs::default()), here);
    assert!(here.has_newer(&writer(1, "x")) && !here.has_newer(&writer(2, "x")) && !here.has_newer(&writer(3, "x")));
    assert!(!here.has_newer(&Writer { system_identifier: 8, ..writer(1, "x") }));
    assert_eq!(here.provisional(PAST), 6);
}
