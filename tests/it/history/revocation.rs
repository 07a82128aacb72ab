//! The checker of revocations finds every planted violation, and nothing in a lawful history.

use harness::history::revocation::{Fault, History, Look, Outcome, Receipt, Revocation, Violation, Witness, WitnessState};

const BOUND: Option<u64> = Some(2_000_000);

fn look(node: u16, began_us: u64, bound_us: Option<u64>, outcome: Outcome) -> Look {
    Look { key: 7, node, began_us, ended_us: began_us + 5_000, bound_us, status: 0, outcome }
}

fn revocation(receipt: Option<Receipt>) -> Revocation {
    Revocation { key: 7, sent_us: 1_000_000, answered_us: 1_500_000, committed_us: Some(1_010_000), receipt }
}

/// Node 0 has acknowledged, node 1 is fenced: so it takes effect at the fence.
fn receipt() -> Receipt {
    Receipt {
        is_effective: true,
        effective_us: Some(1_450_000),
        elapsed_us: Some(440_000),
        fenced_us: 1_450_000,
        witnesses: vec![
            Witness { node: 0, state: WitnessState::Acknowledged, acknowledged_us: Some(1_100_000) },
            Witness { node: 1, state: WitnessState::Fenced, acknowledged_us: None },
        ],
    }
}

fn faults(revocation: Revocation, looks: &[Look]) -> Vec<(Fault, Option<usize>)> {
    let history = History { nodes: vec!["a-1".into(), "b-1".into()], revocations: vec![revocation], looks: looks.to_vec() };
    history
        .violations()
        .into_iter()
        .map(|Violation { key, fault, look }| (assert_eq!(key, 7), fault, look))
        .map(|((), fault, look)| (fault, look))
        .collect()
}

fn receipt_with(edit: impl FnOnce(&mut Receipt)) -> Vec<(Fault, Option<usize>)> {
    let mut changed = receipt();
    edit(&mut changed);
    faults(revocation(Some(changed)), &[])
}

#[test]
fn lawful_history_of_a_revocation_has_no_violation() {
    let looks = [
        look(0, 900_000, BOUND, Outcome::Accepted),
        look(0, 1_096_000, BOUND, Outcome::Refused),
        look(0, 1_100_000, BOUND, Outcome::Accepted), // sent before that refusal had come
        look(1, 1_440_000, BOUND, Outcome::Accepted), // not yet fenced
        look(1, 1_600_000, BOUND, Outcome::Stale),
        look(1, 9_000_000, None, Outcome::Accepted), // cut off, where that is allowed
        look(0, 9_000_000, BOUND, Outcome::Other),
    ];

    assert_eq!(faults(revocation(Some(receipt())), &looks), []);
    assert_eq!(faults(revocation(None), &[look(1, 3_500_000, BOUND, Outcome::Accepted)]), [], "the bound is not over yet");
}

#[test]
fn look_that_is_accepted_after_the_bound_is_found_and_one_without_a_bound_is_not() {
    let looks = [look(1, 3_500_001, BOUND, Outcome::Accepted), look(1, 3_500_001, None, Outcome::Accepted)];

    assert_eq!(faults(revocation(None), &looks), [(Fault::AcceptedAfterBound, Some(0))]);
}

#[test]
fn key_that_comes_back_in_a_node_is_found_and_one_that_another_node_still_takes_is_not() {
    let looks = [
        look(0, 1_100_000, None, Outcome::Refused),
        look(1, 1_200_000, None, Outcome::Accepted),
        look(1, 1_210_000, None, Outcome::Stale),
        look(1, 1_220_000, None, Outcome::Accepted),
        look(0, 1_300_000, None, Outcome::Accepted),
    ];

    assert_eq!(faults(revocation(None), &looks), [(Fault::CameBack, Some(4))]);
}

#[test]
fn look_that_is_accepted_after_an_effective_receipt_or_by_a_node_that_has_acknowledged_is_found() {
    let looks = [
        look(1, 1_500_001, BOUND, Outcome::Accepted),
        look(0, 1_500_001, None, Outcome::Accepted),
        look(1, 1_500_001, None, Outcome::Accepted),
        look(0, 1_102_001, None, Outcome::Accepted),
    ];
    let fence = (Fault::AcceptedAfterFence, Some(0));
    let receipts = [0, 1, 3].map(|at| (Fault::AcceptedAfterReceipt, Some(at)));

    assert_eq!(faults(revocation(Some(receipt())), &looks), [&[fence], receipts.as_slice()].concat());
    let waiting = Receipt { is_effective: false, effective_us: None, fenced_us: 3_050_000, ..receipt() };
    assert_eq!(faults(revocation(Some(waiting)), &looks), receipts[1..], "what is not effective excludes only what has acknowledged");
}

#[test]
fn receipt_that_contradicts_itself_or_the_client_is_found() {
    let effective = [(Fault::Effective, None)];
    assert_eq!(receipt_with(|_| ()), []);
    assert_eq!(receipt_with(|receipt| receipt.effective_us = None), effective);
    assert_eq!(receipt_with(|receipt| receipt.effective_us = Some(1_600_000)), effective, "after its own answer");
    assert_eq!(receipt_with(|receipt| receipt.is_effective = false), effective);
    assert_eq!(receipt_with(|receipt| receipt.fenced_us = 1_480_000), effective, "before the fence of a node that it rests on");
    assert_eq!(receipt_with(|receipt| receipt.witnesses[1].state = WitnessState::Waiting), effective);
    let before = Receipt { effective_us: Some(1_000_000), fenced_us: 1_000_000, witnesses: Vec::new(), ..receipt() };
    assert_eq!(faults(revocation(Some(before)), &[]), effective, "before the commit");

    let acknowledged = [(Fault::Acknowledged, None)];
    for at in [None, Some(1_000_000), Some(1_460_000)] {
        assert_eq!(receipt_with(|receipt| receipt.witnesses[0].acknowledged_us = at), acknowledged, "{at:?}");
    }
    assert_eq!(receipt_with(|receipt| receipt.witnesses[1].acknowledged_us = Some(1_200_000)), acknowledged);
    assert_eq!(receipt_with(|receipt| receipt.elapsed_us = Some(510_000)), [(Fault::Elapsed, None)]);
}

#[test]
fn what_was_served_before_and_how_long_each_node_took_are_counted() {
    let looks = [
        look(0, 900_000, BOUND, Outcome::Accepted),
        look(0, 910_000, BOUND, Outcome::Stale),
        look(0, 999_000, BOUND, Outcome::Stale), // ended after it was sent
        look(1, 1_595_000, BOUND, Outcome::Refused),
        look(1, 1_695_000, BOUND, Outcome::Refused),
    ];
    let history = History { nodes: Vec::new(), revocations: vec![revocation(None)], looks: looks.to_vec() };

    assert_eq!(history.served_before(), (1, 2));
    assert_eq!(history.took_us(0..8).into_iter().collect::<Vec<_>>(), [(1, vec![100_000])]);
    assert!(history.took_us(0..7).is_empty());
    let mut lines = Vec::new();
    history.write(&mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    assert_eq!(lines.lines().count(), 7);
    assert_eq!(serde_json::from_str::<Revocation>(lines.lines().nth(1).unwrap()).unwrap(), history.revocations[0]);
    assert_eq!(serde_json::from_str::<Look>(lines.lines().nth(6).unwrap()).unwrap(), looks[4]);
}
