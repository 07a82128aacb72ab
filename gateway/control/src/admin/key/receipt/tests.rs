use uuid::Uuid;

use super::*;

const SECOND: u64 = 1_000_000_000;
const EPOCH: Uuid = Uuid::from_u128(5);

fn change() -> Change {
    Change { epoch: 1, revision: Acknowledged { epoch_id: EPOCH, authority: 7 }, known_at: BootNanos(100 * SECOND) }
}

fn node(name: &str, acknowledged_at: Option<i64>, bound_ms: Option<u64>) -> Standing {
    Standing {
        name: name.to_owned(),
        region: "eu".to_owned(),
        knows: acknowledged_at.is_some(),
        acknowledged_at: acknowledged_at.map(|seconds| UtcMicros(seconds * 1_000_000)),
        deny_bound_ms: bound_ms,
    }
}

/// The receipt at so many milliseconds after the commit; the database's clock is at 1,000 s then.
fn at(waited_ms: u64, serves_stale: bool, nodes: &[Standing]) -> Receipt {
    let now = BootNanos(100 * SECOND + waited_ms * 1_000_000);
    Receipt::of(change(), nodes.to_vec(), serves_stale, now, UtcMicros(1_000_000_000))
}

fn states(receipt: &Receipt) -> Vec<NodeState> {
    receipt.nodes.iter().map(|node| node.state).collect()
}

#[test]
fn it_is_effective_when_every_node_has_acknowledged_or_is_past_its_bound() {
    use NodeState::{Acknowledged as Knows, Fenced, Waiting};
    let (first, second, silent) = (node("a", Some(999), Some(2_000)), node("b", Some(998), Some(2_000)), node("c", None, Some(2_000)));

    let all = at(50, true, &[first.clone(), second.clone()]);
    assert_eq!((all.is_effective, states(&all), all.allow_routes), (true, vec![Knows, Knows], AllowRoutes::Acknowledged));
    assert_eq!(all.effective_at, Some(instant(UtcMicros(999_000_000))), "with the last of them");

    let cut = [first, silent];
    let early = at(2_002, true, &cut);
    assert_eq!((early.is_effective, states(&early), early.effective_at.clone()), (false, vec![Knows, Waiting], None));
    assert_eq!(early.fenced_at, Some(instant(UtcMicros(1_000_001_000))), "two seconds, what a clock may gain of them, and a tick");
    let late = at(2_004, true, &cut);
    assert_eq!((late.is_effective, states(&late), late.allow_routes), (true, vec![Knows, Fenced], AllowRoutes::Unbounded));
    assert_eq!(late.effective_at, Some(instant(UtcMicros(999_999_000))));
    assert_eq!(at(2_004, false, &cut).allow_routes, AllowRoutes::None);
}

#[test]
fn a_wider_bound_is_waited_for_and_a_node_that_names_none_for_good() {
    let nodes = [node("a", None, Some(2_000)), node("b", None, Some(300_000))];
    let receipt = at(10_000, true, &nodes);
    assert_eq!((states(&receipt), receipt.bound_ms), (vec![NodeState::Fenced, NodeState::Waiting], 300_000));
    assert!(at(300_302, true, &nodes).is_effective);
    let unknown = at(86_400_000, true, &[node("old", None, None)]);
    assert!(!unknown.is_effective && unknown.fenced_at.is_none(), "nobody knows when");
    assert!(at(2, true, &[node("open", None, Some(0))]).is_effective, "no route of it refuses, so none can be late");
}

/// Acknowledged more than an hour ago: it is effective, and nobody says since when.
#[test]
fn what_is_not_remembered_is_not_said() {
    let mut old = node("a", Some(1), Some(2_000));
    old.acknowledged_at = None;
    let receipt = at(50, true, &[old]);
    assert_eq!((receipt.is_effective, receipt.effective_at), (true, None));
}

#[test]
fn a_wait_counts_from_the_first_time_that_a_change_was_known_and_anew_for_another() {
    let (changes, id) = (Changes::default(), KeyId::parse("0123456789ab").unwrap());
    let revisions = |authority| Revisions { epoch: 1, epoch_id: EPOCH, authority, ..Revisions::default() };
    let known_at = |revisions, now| changes.committed(id, revisions, BootNanos(now)).known_at.0;
    assert_eq!([known_at(revisions(7), 5), known_at(revisions(7), 9)], [5, 5]);
    let of = |revisions, is_exact| changes.of(&id, &revisions, is_exact).map(|change| change.known_at.0);
    assert_eq!(
        [of(revisions(6), true), of(revisions(8), true), of(revisions(8), false)],
        [Some(5), None, Some(5)],
        "what changed in an earlier epoch is in all of this one"
    );
    assert_eq!(of(Revisions { epoch_id: Uuid::from_u128(9), ..revisions(6) }, false), None);
    assert_eq!(known_at(revisions(8), 12), 12);
    let other = Revisions { epoch: 2, epoch_id: Uuid::from_u128(6), ..revisions(8) };
    assert_eq!(known_at(other, 20), 20, "a number of another epoch");
}

#[test]
fn what_is_waited_for_is_asked_for_in_one_way() {
    let wait = |query: &str| Wait::of(&format!("/v1/keys/0123456789ab/revoke{query}").parse().unwrap()).ok().map(|wait| wait.within);
    let seconds = |seconds| Some(Some(Duration::from_secs(seconds)));
    assert_eq!([wait(""), wait("?timeout=3")], [Some(None), Some(None)], "how long to wait for nothing");
    assert_eq!(wait("?wait=effective"), seconds(10));
    assert_eq!([wait("?wait=effective&timeout=25"), wait("?timeout=3s&wait=effective")], [seconds(25), seconds(3)]);
    for wrong in ["?wait=", "?wait=true", "?wait=effective&timeout=0", "?wait=effective&timeout=26", "?wait=effective&wait=effective", "?x=1"] {
        assert_eq!(wait(wrong), None, "{wrong}");
    }
}
