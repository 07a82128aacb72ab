//! Keep-alive connections to services, one set for each core.
//!
//! A connection goes back only when its exchange is over on both sides: a connection whose framing is in doubt is closed.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use model::{
    structure::{Target, reach::HttpVersion},
    time::BootNanos,
};
use parking_lot::Mutex;

use crate::{
    connect::{Connector, Opened},
    http1::Link,
    http2::Session,
    tls::Identities,
};

/// Idle connections that are kept to one target, for each core.
const IDLE_MAX: usize = 256;
/// Services close idle connections after 60 to 75 s as a rule; we stop using them earlier.
const IDLE_NANOS_MAX: u64 = 50_000_000_000;

/// The connections of one core, by target address; one pool for each way in which the address is spoken to.
#[derive(Debug, Default)]
pub struct Pools {
    targets: Mutex<HashMap<Box<str>, Vec<Arc<TargetPool>>>>,
    /// Moved by the sweep: an idle link's age need not be known better than to a second.
    now: Arc<AtomicU64>,
    identities: Arc<Identities>,
}

impl Pools {
    /// No connections yet, for a node with these identities.
    pub fn new(identities: &Arc<Identities>) -> Self {
        Self { identities: Arc::clone(identities), ..Self::default() }
    }

    /// The pool of a target, made when it is first asked for.
    pub fn of(&self, target: &Target) -> Arc<TargetPool> {
        let mut targets = self.targets.lock();
        let is_same = |pool: &&Arc<TargetPool>| Arc::ptr_eq(pool.connector.reach(), &target.reach) || **pool.connector.reach() == *target.reach;
        if let Some(pool) = targets.get(&target.address).and_then(|pools| pools.iter().find(is_same)) {
            return Arc::clone(pool);
        }
        let pool = Arc::new(TargetPool {
            connector: Connector::new(&target.address, &target.reach, &self.identities),
            now: Arc::clone(&self.now),
            idle: Mutex::default(),
            sessions: Mutex::default(),
            shares: AtomicBool::new(target.reach.version == HttpVersion::Http2),
            opening: tokio::sync::Mutex::default(),
            in_flight: AtomicUsize::new(0),
        });
        targets.entry(target.address.clone()).or_default().push(Arc::clone(&pool));
        pool
    }

    /// Closes connections that have been idle for too long, and forgets targets that are used no more.
    pub fn sweep(&self, now: BootNanos) {
        self.now.store(now.0, Ordering::Relaxed);
        self.targets.lock().retain(|_, pools| {
            pools.retain(|pool| pool.sweep(now) || Arc::strong_count(pool) > 1);
            !pools.is_empty()
        });
    }
}

/// The connections of one core to one target.
#[derive(Debug)]
pub struct TargetPool {
    connector: Connector,
    now: Arc<AtomicU64>,
    idle: Mutex<Vec<Idle>>,
    /// HTTP/2 connections, with the time of their last use.
    sessions: Mutex<Vec<(Session, BootNanos)>>,
    /// The service speaks HTTP/2, as far as is known: its connections are shared.
    shares: AtomicBool,
    opening: tokio::sync::Mutex<()>,
    in_flight: AtomicUsize,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    since: BootNanos,
}

impl Idle {
    /// Open as far as is known, young, and it has shown what the node's identity is now.
    fn may_be_used(&mut self, shows: u64, now: BootNanos) -> bool {
        self.link.shown == shows && now.nanos_since(self.since) < IDLE_NANOS_MAX && !self.link.is_stale()
    }
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

    /// A connection that looks open and can take one more request, the most recently used first.
    pub fn take_idle(&self, now: BootNanos) -> Option<Opened> {
        let shows = self.connector.shows();
        let mut idle = self.idle.lock();
        while let Some(mut candidate) = idle.pop() {
            if candidate.may_be_used(shows, now) {
                return Some(Opened::Http1(candidate.link));
            }
        }
        drop(idle);
        self.session(now).map(Opened::Http2)
    }

    /// A shared connection with room for one more request.
    fn session(&self, now: BootNanos) -> Option<Session> {
        let mut sessions = self.sessions.lock();
        let shows = self.connector.shows();
        let (session, since) = sessions.iter_mut().find(|(session, _)| session.has_room() && session.shown == shows)?;
        *since = now;
        Some(session.clone())
    }

    /// Opens a connection; an HTTP/2 one is shared from now on. One that will be `switched` speaks HTTP/1.1.
    ///
    /// # Errors
    /// [`ConnectError`]. Dropping the future abandons the attempt.
    pub async fn open(&self, timeout: Duration, switched: bool) -> Result<Opened, ConnectError> {
        let connect = async { if switched { self.connector.open_http1().await } else { self.connect().await } };
        let opened = tokio::time::timeout(timeout, connect).await.map_err(|_| ConnectError::Timeout)?;
        opened.map_err(ConnectError::Io)
    }

    async fn connect(&self) -> io::Result<Opened> {
        if !self.shares.load(Ordering::Relaxed) {
            return self.connector.open().await.inspect(|opened| self.share(opened));
        }
        // One at a time: a burst of requests needs one connection, and whoever waited finds it.
        let _turn = self.opening.lock().await;
        if let Some(session) = self.session(BootNanos(self.now.load(Ordering::Relaxed))) {
            return Ok(Opened::Http2(session));
        }
        self.connector.open().await.inspect(|opened| self.share(opened))
    }

    fn share(&self, opened: &Opened) {
        if let Opened::Http2(session) = opened {
            self.sessions.lock().push((session.clone(), BootNanos(self.now.load(Ordering::Relaxed))));
        }
        self.shares.store(matches!(opened, Opened::Http2(_)), Ordering::Relaxed);
    }

    /// Gives no more requests to shared connections up to the one with this number: what they showed is not good any more.
    pub fn retire(&self, serial: u64) {
        self.sessions.lock().iter().filter(|(session, _)| session.serial <= serial).for_each(|(session, _)| session.retire());
    }

    /// Drops what is closed or idle for too long; false when nothing is left.
    fn sweep(&self, now: BootNanos) -> bool {
        let shows = self.connector.shows();
        let mut idle = self.idle.lock();
        idle.retain_mut(|idle| idle.may_be_used(shows, now));
        let mut sessions = self.sessions.lock();
        let is_useless = |session: &Session, since| session.is_retired() || session.shown != shows || now.nanos_since(since) >= IDLE_NANOS_MAX;
        sessions.retain(|(session, since)| !(session.is_closed() || session.is_idle() && is_useless(session, *since)));
        !idle.is_empty() || !sessions.is_empty()
    }
}

impl Slot {
    /// It is one of another region's gateway.
    pub(crate) fn is_of_gateway(&self) -> bool {
        self.0.connector.reach().behind.is_some()
    }

    /// Ends the exchange and keeps its connection for the next one.
    pub fn keep(self, link: Link) {
        let mut idle = self.0.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(Idle { link, since: BootNanos(self.0.now.load(Ordering::Relaxed)) });
        }
    }
}
