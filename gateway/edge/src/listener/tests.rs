use std::{
    collections::HashSet,
    io::ErrorKind,
    net::{TcpListener, TcpStream},
};

use super::{bind, deal, reserve};

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

#[test]
fn reserved_port_refuses_connections_and_is_given_to_whoever_names_it() {
    let kept = reserve("127.0.0.1:0".parse().unwrap()).unwrap();
    let refused = || TcpStream::connect(kept.address()).map_err(|error| error.kind());

    // Twice: a process that ended is started again.
    for _ in 0..2 {
        assert_eq!(refused().unwrap_err(), ErrorKind::ConnectionRefused);
        let sockets = bind(kept.address(), 2).unwrap();
        refused().unwrap();
        drop(sockets);
        drop(TcpListener::bind(kept.address()).unwrap());
    }
    let held = TcpListener::bind(kept.address()).unwrap();
    assert_eq!(bind(kept.address(), 1).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(reserve(kept.address()).unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(held);
}

/// 40,000 free ports are taken, out of some 28,000: without the reservation this finds each of the eight.
#[test]
fn reserved_port_is_never_given_as_a_free_one() {
    let kept: Vec<_> = (0..8).map(|_| reserve("127.0.0.77:0".parse().unwrap()).unwrap()).collect();
    let ports: HashSet<u16> = kept.iter().map(|kept| kept.address().port()).collect();
    assert_eq!(ports.len(), 8);

    // An address of this test alone, so that other tests find free ports; a few hundred are held at a time.
    for _ in 0..200 {
        let held: Vec<_> = (0..200).map(|_| TcpListener::bind("127.0.0.77:0").unwrap()).collect();
        assert!(held.iter().all(|held| !ports.contains(&held.local_addr().unwrap().port())));
    }
}
