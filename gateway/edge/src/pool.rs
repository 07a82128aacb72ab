//! Keep-alive connections to services, one set for each core.
//!
//! A connection goes back only when its exchange is over on both sides: a connection whose framing is in doubt is closed.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use model::time::BootNanos;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use crate::{
    health::{Health, HealthTable},
    http1::{Link, Stream},
};

/// Idle connections that are kept to one target, for each core.
const IDLE_MAX: usize = 256;
/// Services close idle connections after 60 to 75 s as a rule; we stop using them earlier.
const IDLE_NANOS_MAX: u64 = 50_000_000_000;

/// The connections of one core, by target address.
#[derive(Debug, Default)]
pub struct Pools {
    targets: Mutex<HashMap<Box<str>, Arc<TargetPool>>>,
    /// Moved by the sweep: an idle link's age need not be known better than to a second.
    now: Arc<AtomicU64>,
    turn: AtomicUsize,
}

impl Pools {
    /// The pool of an address, made when it is first asked for.
    pub fn of(&self, address: &str, health: &HealthTable) -> Arc<TargetPool> {
        let mut targets = self.targets.lock();
        if let Some(pool) = targets.get(address) {
            return Arc::clone(pool);
        }
        let pool = Arc::new(TargetPool {
            address: address.into(),
            health: health.of(address),
            now: Arc::clone(&self.now),
            idle: Mutex::default(),
            in_flight: AtomicUsize::new(0),
        });
        targets.insert(address.into(), Arc::clone(&pool));
        pool
    }

    /// A number that grows with each call, for taking turns.
    pub fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Closes connections that have been idle for too long.
    pub fn sweep(&self, now: BootNanos) {
        self.now.store(now.0, Ordering::Relaxed);
        for pool in self.targets.lock().values() {
            pool.idle.lock().retain_mut(|idle| now.nanos_since(idle.since) < IDLE_NANOS_MAX && !idle.link.is_stale());
        }
    }
}

/// The connections of one core to one target.
#[derive(Debug)]
pub struct TargetPool {
    address: Box<str>,
    health: Arc<Health>,
    now: Arc<AtomicU64>,
    idle: Mutex<Vec<Idle>>,
    in_flight: AtomicUsize,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: BootNanos,
}

/// A place among the exchanges in flight; dropping it without [`Slot::keep`] keeps no connection.
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
}

impl TargetPool {
    /// What is known about the target.
    pub fn health(&self) -> &Health {
        &self.health
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
    pub fn take_idle(&self, now: BootNanos) -> Option<Link> {
        let mut idle = self.idle.lock();
        while let Some(mut candidate) = idle.pop() {
            if !candidate.link.is_stale() && now.nanos_since(candidate.since) < IDLE_NANOS_MAX {
                return Some(candidate.link);
            }
        }
        None
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`ConnectError`]. Dropping the future abandons the attempt.
    pub async fn open(&self, timeout: Duration) -> Result<Link, ConnectError> {
        let stream = tokio::time::timeout(timeout, TcpStream::connect(&*self.address)).await.map_err(|_| ConnectError::Timeout)?;
        let stream = stream.map_err(ConnectError::Io)?;
        stream.set_nodelay(true).map_err(ConnectError::Io)?;
        Ok(Link::new(Stream::Plain(stream)))
    }
}

impl Slot {
    /// Ends the exchange and keeps its connection for the next one.
    pub fn keep(self, link: Link) {
        let mut idle = self.0.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(Idle { link, since: BootNanos(self.0.now.load(Ordering::Relaxed)) });
        }
    }
}
