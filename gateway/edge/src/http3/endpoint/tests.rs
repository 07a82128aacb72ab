use std::{io::ErrorKind, net::UdpSocket};

use super::bind;

#[test]
fn port_is_shared_among_cores_and_with_nobody_else() {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    assert_eq!(bind(address, 2).unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(free);

    let sockets = bind(address, 3).unwrap();
    assert_eq!(sockets.len(), 3);
    assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
    assert_eq!(bind(address, 1).unwrap_err().kind(), ErrorKind::AddrInUse, "a second node must not take a part of the datagrams");
    drop(sockets);
    bind(address, 1).unwrap();
}
