//! Keep-alive connections to services, one set for each core.
//!
//! A connection goes back only when its exchange is over on both sides: a connection whose framing is in doubt is closed.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use model::time::BootNanos;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use crate::{accept, body::RequestBody};

/// Idle connections that are kept to one target, for each core.
const IDLE_MAX: usize = 256;
/// Services close idle connections after 60 to 75 s as a rule; we stop using them earlier.
const IDLE_NANOS_MAX: u64 = 50_000_000_000;
/// Buffer for heads; also the largest response head that is taken.
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// The connections of one core, by target address.
#[derive(Debug, Default)]
pub struct Pools {
    targets: Mutex<HashMap<Box<str>, Arc<TargetPool>>>,
}

impl Pools {
    /// The pool of an address, made when it is first asked for.
    pub fn of(&self, address: &str) -> Arc<TargetPool> {
        let mut targets = self.targets.lock();
        if let Some(pool) = targets.get(address) {
            return Arc::clone(pool);
        }
        let pool = Arc::new(TargetPool { address: address.into(), idle: Mutex::default(), in_flight: AtomicUsize::new(0) });
        targets.insert(address.into(), Arc::clone(&pool));
        pool
    }

    /// Closes connections that have been idle for too long.
    pub fn sweep(&self, now: BootNanos) {
        self.targets.lock().retain(|_, pool| {
            let mut kept = pool.idle.lock();
            kept.retain(|idle| now.nanos_since(idle.since) < IDLE_NANOS_MAX && !idle.sender.is_closed());
            // Names move, and their old addresses do not come back.
            !kept.is_empty() || Arc::strong_count(pool) > 1
        });
    }
}

/// The connections of one core to one target.
#[derive(Debug)]
pub struct TargetPool {
    address: Box<str>,
    idle: Mutex<Vec<Idle>>,
    in_flight: AtomicUsize,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    since: BootNanos,
}

/// A connection that is in use; dropping it closes it, [`Connection::give_back`] keeps it.
#[derive(Debug)]
pub struct Connection {
    /// Sends requests.
    pub sender: SendRequest<RequestBody>,
    /// It has served before: the service may have closed it meanwhile.
    pub is_reused: bool,
    slot: Slot,
}

/// A place among the exchanges in flight.
#[derive(Debug)]
pub struct Slot(Arc<TargetPool>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The cap on exchanges in flight is reached.
    #[error("the cap on requests in flight to this target is reached")]
    Full,
    /// The target did not answer in time.
    #[error("connecting took too long")]
    Timeout,
    /// The target cannot be reached.
    #[error("connecting failed")]
    Io(#[source] io::Error),
    /// The connection broke before it could be used.
    #[error("the connection broke at once")]
    Handshake(#[source] hyper::Error),
}

impl TargetPool {
    /// Exchanges in flight on this core.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Takes a place in flight.
    ///
    /// # Errors
    /// [`ConnectError::Full`].
    pub fn enter(self: &Arc<Self>, in_flight_max: usize) -> Result<Slot, ConnectError> {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= in_flight_max {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return Err(ConnectError::Full);
        }
        Ok(Slot(Arc::clone(self)))
    }

    /// An idle connection that still looks open, the most recently used first.
    pub fn take_idle(&self, now: BootNanos) -> Option<SendRequest<RequestBody>> {
        let mut idle = self.idle.lock();
        while let Some(candidate) = idle.pop() {
            if !candidate.sender.is_closed() && now.nanos_since(candidate.since) < IDLE_NANOS_MAX {
                return Some(candidate.sender);
            }
        }
        None
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`ConnectError`]. Dropping the future abandons the attempt.
    pub async fn open(&self, timeout: Duration) -> Result<SendRequest<RequestBody>, ConnectError> {
        let stream = tokio::time::timeout(timeout, TcpStream::connect(&*self.address)).await.map_err(|_| ConnectError::Timeout)?;
        let stream = stream.map_err(ConnectError::Io)?;
        stream.set_nodelay(true).map_err(ConnectError::Io)?;
        let (sender, connection) =
            Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(TokioIo::new(stream)).await.map_err(ConnectError::Handshake)?;
        // It ends when its sender is dropped or the service closes; errors reach the exchange itself.
        accept::spawn(async move {
            connection.await.ok();
        });
        Ok(sender)
    }
}

impl Connection {
    /// Wraps a sender that has a place in flight.
    pub const fn new(sender: SendRequest<RequestBody>, is_reused: bool, slot: Slot) -> Self {
        Self { sender, is_reused, slot }
    }

    /// Gives the place in flight back for another attempt.
    pub fn into_slot(self) -> Slot {
        self.slot
    }

    /// Keeps the connection for later. Only call this when both messages of the exchange are complete.
    pub fn give_back(self, now: BootNanos) {
        let mut idle = self.slot.0.idle.lock();
        if idle.len() < IDLE_MAX && !self.sender.is_closed() {
            idle.push(Idle { sender: self.sender, since: now });
        }
    }
}
