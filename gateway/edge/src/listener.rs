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

/// A port that is kept for a process that will listen there.
///
/// Its socket is bound and does not listen: connections are refused, as if nobody had the port. The kernel gives the port to no
/// other program that takes a free one, nor to an outgoing connection; one that names it, and sets `SO_REUSEADDR`, can listen.
#[derive(Debug)]
pub struct Reserved {
    _socket: Socket,
    address: SocketAddr,
}

impl Reserved {
    /// The address, with the port that the kernel chose.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Keeps a port for as long as the answer lives; port 0 takes a free one.
///
/// # Errors
/// What the kernel says, `AddrInUse` among it: another process listens there.
pub fn reserve(address: SocketAddr) -> io::Result<Reserved> {
    let socket = unbound(address)?;
    socket.bind(&address.into())?;
    let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    Ok(Reserved { _socket: socket, address })
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

fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = unbound(address)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
