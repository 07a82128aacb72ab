use std::time::Duration;

use tokio::time::Instant;

use super::history::{Acknowledged, History, Revision};

#[test]
fn changes_whose_numbers_contradict_their_order_are_found() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let disorder = |changes: &[(u64, u64, u64, u64)]| {
        let mut history = History::default();
        for &(began, ended, epoch, authority) in changes {
            history.acknowledge(0, Acknowledged { began: at(began), ended: at(ended), revision: Revision { epoch, authority } });
        }
        history.disorder().len()
    };

    assert_eq!(disorder(&[]), 0);
    assert_eq!(disorder(&[(0, 10, 1, 1), (20, 30, 1, 2), (40, 50, 2, 1)]), 0);
    assert_eq!(disorder(&[(0, 30, 1, 2), (10, 20, 1, 1)]), 0, "both were under way");
    assert_eq!(disorder(&[(0, 10, 1, 2), (20, 30, 1, 1)]), 1);
    assert_eq!(disorder(&[(0, 10, 2, 1), (20, 30, 1, 9)]), 1, "the epoch of before");
    assert_eq!(disorder(&[(0, 10, 1, 1), (5, 15, 1, 1)]), 1, "one number for two");
}

#[test]
fn changes_are_made_again_once_every_node_has_made_one_in_a_later_epoch() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut history = History::default();
    let mut tell = |node, ended, epoch| {
        history.acknowledge(node, Acknowledged { began: start, ended: at(ended), revision: Revision { epoch, authority: 1 } });
        history.made_again(2, 1)
    };

    assert_eq!(tell(0, 10, 1), None);
    assert_eq!(tell(0, 30, 2), None);
    assert_eq!(tell(1, 40, 1), None, "what the old leader had acknowledged came late");
    assert_eq!(tell(1, 50, 2), Some(at(50)));
    assert_eq!(tell(0, 60, 2), Some(at(50)), "the first counts");
}
