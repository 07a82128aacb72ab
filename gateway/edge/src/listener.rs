//! Listening sockets: one for each core, sharing the port.

use std::{io, net::SocketAddr, net::TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel holds until they are accepted.
pub const BACKLOG: i32 = 4_096;

/// Binds `count` sockets to one address with `SO_REUSEPORT`; port 0 takes a free port, the same for all.
///
/// # Errors
/// What the kernel says, `AddrInUse` among it: another process that does not share the port has it.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    // Without this probe a second node on the same port would silently take half of the connections.
    if address.port() != 0 {
        let probe = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        probe.set_reuse_address(true)?;
        probe.bind(&address.into())?;
    }
    let first = socket(address)?;
    let actual = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(socket(actual)?);
    }
    Ok(sockets)
}

/// Deals sockets to `cores` cores, so that each core has at least one: a process that took its sockets over may have another
/// number of cores than the one that bound them.
///
/// # Errors
/// When the kernel gives no further descriptor.
pub fn deal(sockets: Vec<TcpListener>, cores: usize) -> io::Result<Vec<Vec<TcpListener>>> {
    let mut hands: Vec<Vec<TcpListener>> = (0..cores).map(|_| Vec::new()).collect();
    let bound = sockets.len();
    for (index, socket) in sockets.into_iter().enumerate() {
        // More cores than sockets: the kernel wakes whichever of them asks first.
        for hand in (index..cores).step_by(bound).skip(1) {
            if let Some(hand) = hands.get_mut(hand) {
                hand.push(socket.try_clone()?);
            }
        }
        if let Some(hand) = hands.get_mut(index % cores.max(1)) {
            hand.push(socket);
        }
    }
    Ok(hands)
}

fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
