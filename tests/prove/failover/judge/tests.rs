use super::*;

const REFUSE: Way = Way { node: 0, mode: Mode::Refuse };
const STALE: Way = Way { node: 0, mode: Mode::Stale };
const FAR: Way = Way { node: 1, mode: Mode::Refuse };

fn entry(way: Way, act: Act, has: Option<&str>, at: u64, said: Said) -> Entry {
    let status = match (&act, said) {
        (_, Said::Refused) => 409,
        (_, Said::Unavailable) => 503,
        (Act::Write(_), _) => 201,
        (Act::Read, _) => 200,
    };
    let shows = (act == Act::Read && said == Said::Served).then(|| has.map(str::to_owned)).flatten();
    let has = has.map(Arc::from);
    Entry { way, act, has, began_us: at, ended_us: at + 5, status, code: String::new(), said, region: "old".to_owned(), shows }
}

fn write(way: Way, name: &str, has: Option<&str>, at: u64, region: &str) -> Entry {
    Entry { region: region.to_owned(), ..entry(way, Act::Write(name.into()), has, at, Said::Served) }
}

fn read(way: Way, has: &str, at: u64, said: Said) -> Entry {
    entry(way, Act::Read, Some(has), at, said)
}

/// A promotion at 100 that is known from 200 on: `kept` survived, `lost` did not, and `new` is written behind it.
fn sound() -> Vec<Entry> {
    let mut entries = vec![
        write(REFUSE, "kept", None, 10, "old"),
        write(REFUSE, "lost", None, 50, "old"),
        // Nobody knows yet, and the old primary has it.
        read(REFUSE, "lost", 110, Said::Served),
        read(REFUSE, "lost", 120, Said::Unavailable),
        read(STALE, "lost", 130, Said::Warned),
        read(REFUSE, "lost", 190, Said::Refused),
        read(STALE, "lost", 190, Said::Lost),
        read(FAR, "lost", 190, Said::Refused),
        entry(REFUSE, Act::Write("refused".into()), Some("lost"), 205, Said::Refused),
    ];
    for way in [REFUSE, STALE, FAR] {
        entries.push(read(way, "kept", 210, Said::Unavailable));
        entries.push(read(way, "kept", 220, Said::Served));
    }
    entries.push(write(STALE, "new", None, 230, "new"));
    entries.push(read(FAR, "new", 240, Said::Served));
    entries
}

fn judged(entries: &[Entry]) -> Found {
    judged_with(entries, true)
}

fn judged_with(entries: &[Entry], is_proved: bool) -> Found {
    let truth = ["kept", "new"].map(str::to_owned).into();
    judge(&Case { entries, truth: &truth, promoted_us: 100, region: "new", kept: &["kept".into()], is_proved, settled_us: 200 })
}

#[test]
fn promotion_that_is_told_breaks_nothing() {
    let found = judged(&sound());

    assert!(found.broken.is_empty(), "{found:?}");
    assert_eq!((found.lost, found.reported, found.survivors, found.served), (1, 1, 2, 2));
    assert_eq!((found.silent, found.in_vain, found.again_us), (0, 0, Some(135)));
}

#[test]
fn each_planted_violation_is_found() {
    let missed = |way, name, at| Entry { shows: None, ..read(way, name, at, Said::Served) };
    let planted = [
        // Served as if satisfied, before anybody knew and after.
        ("in silence", missed(REFUSE, "lost", 150)),
        ("in silence", missed(STALE, "lost", 300)),
        // The old primary answers though its node knows; another node may not know yet.
        ("told it before", read(REFUSE, "lost", 250, Said::Served)),
        ("told it before", write(STALE, "new", Some("lost"), 250, "new")),
        ("after its node knew", write(REFUSE, "gone", None, 250, "old")),
        ("after its node knew", write(FAR, "gone", None, 250, "new")),
        ("not told in the end", read(FAR, "lost", 300, Said::Unavailable)),
        ("sent all the same", entry(REFUSE, Act::Write("new".into()), Some("lost"), 300, Said::Refused)),
        ("route that tells it", read(STALE, "lost", 300, Said::Refused)),
        ("route that refuses", read(REFUSE, "lost", 300, Said::Lost)),
        ("told to be lost", read(STALE, "kept", 215, Said::Lost)),
        ("told to be lost", read(FAR, "new", 300, Said::Refused)),
        ("not shown to its writer", missed(FAR, "kept", 215)),
        ("not served in the end", read(FAR, "kept", 300, Said::Unavailable)),
        ("nothing explains", read(FAR, "kept", 215, Said::Odd)),
        ("allows none", read(REFUSE, "lost", 130, Said::Warned)),
    ];
    for (word, entry) in planted {
        let mut entries = sound();
        entries.push(entry.clone());

        let found = judged(&entries);

        assert!(found.broken.iter().any(|sentence| sentence.contains(word)), "{word}: {entry:?}: {found:?}");
    }
}

#[test]
fn what_is_written_while_nobody_knows_the_epoch_may_be_told_to_be_lost_and_is_counted() {
    let mut entries = sound();
    entries.push(write(REFUSE, "new", None, 180, "new"));
    entries.retain(|entry| !(matches!(&entry.act, Act::Write(name) if &**name == "new") && entry.began_us == 230));
    entries.push(read(REFUSE, "new", 300, Said::Refused));

    let found = judged(&entries);

    assert!(found.broken.is_empty(), "{found:?}");
    assert_eq!((found.in_vain, found.again_us), (1, Some(85)));
}

#[test]
fn loss_of_an_earlier_promotion_does_not_show_that_a_node_knows_of_this_one() {
    let mut entries = vec![read(FAR, "long-gone", 105, Said::Refused), write(FAR, "late", None, 112, "old")];
    entries.extend(sound());
    entries.push(read(FAR, "late", 300, Said::Refused));

    let found = judged(&entries);

    assert!(found.broken.is_empty(), "{found:?}");
    assert_eq!((found.lost, found.reported), (3, 3));
}

#[test]
fn what_nobody_can_prove_may_be_told_to_be_lost_and_is_not_counted_as_served() {
    let mut entries = sound();
    entries.push(read(STALE, "kept", 300, Said::Lost));

    let found = judged_with(&entries, false);

    assert!(found.broken.is_empty(), "{found:?}");
    assert_eq!((found.in_vain, found.survivors, found.served), (1, 2, 1));
    assert!(!judged(&entries).broken.is_empty());
}
