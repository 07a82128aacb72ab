use super::{bind, deal};

#[test]
fn every_socket_is_dealt_and_every_core_gets_one() {
    for (bound, cores) in [(1, 1), (2, 2), (1, 4), (4, 1), (3, 2), (2, 3), (4, 6)] {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), bound).unwrap();

        let hands = deal(sockets, cores).unwrap();

        assert_eq!(hands.len(), cores);
        assert!(hands.iter().all(|hand| !hand.is_empty()), "{bound} sockets for {cores} cores: {hands:?}");
        assert_eq!(hands.iter().map(Vec::len).sum::<usize>(), bound.max(cores), "{bound} sockets for {cores} cores");
    }
}
