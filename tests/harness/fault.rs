//! A TCP proxy that stands between two parts and spoils the line: delay, jitter, hang, half-open, cut, refuse.
//!
//! Delay is latency and not throughput: bytes are read at once, stamped with the moment at which they are due, and
//! written then, so that a line of 150 ms carries as much as a line of 0 ms. Bytes never overtake each other.

mod line;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes that may be under way in one direction of one connection; past it the sender feels back-pressure.
///
/// 8 MiB on a line of 150 ms is 53 MB/s.
const IN_FLIGHT_MAX: usize = 8 << 20;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the side that connected towards the target.
    Up,
    /// From the target back.
    Down,
}

/// What happens to a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Greeting {
    /// It is accepted and carried.
    #[default]
    Serve,
    /// The port is closed: `ECONNREFUSED`.
    Refuse,
    /// It is accepted, and then nothing ever comes.
    Hang,
}

/// How one direction behaves. It is read for each chunk, so a change applies to connections that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// Added to each byte.
    pub delay: Duration,
    /// Up to this much more, drawn anew for each chunk.
    pub jitter: Duration,
    /// Whether bytes are kept back for the time being; the sender hears nothing (a half-open line).
    pub held: Held,
}

/// Whether a direction keeps its bytes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Held {
    /// Bytes go on.
    #[default]
    No,
    /// Bytes wait until the direction is released.
    Yes,
}

/// The whole behavior of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// For new connections.
    pub greeting: Greeting,
    /// Towards the target.
    pub up: Way,
    /// Back from it.
    pub down: Way,
    /// Rises at each cut; a connection dies when it sees a number other than the one it began with.
    cuts: u64,
}

impl Plan {
    fn way(&self, direction: Direction) -> Way {
        match direction {
            Direction::Up => self.up,
            Direction::Down => self.down,
        }
    }

    fn way_mut(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}

/// Where connections go on to, and from which address.
#[derive(Debug, Clone, Copy)]
struct Far {
    target: SocketAddr,
    from: Option<IpAddr>,
}

impl Far {
    async fn dial(self) -> std::io::Result<TcpStream> {
        let Some(from) = self.from else { return TcpStream::connect(self.target).await };
        let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind((from, 0).into())?;
        socket.connect(self.target).await
    }
}

/// What passed so far.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
}

/// A running proxy; dropping it closes the port and resets what is open.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    plan: watch::Sender<Plan>,
    counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and carries what comes to `target`, faultless until told otherwise.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn to(target: SocketAddr) -> Result<Self> {
        Self::between(([127, 0, 0, 1], 0).into(), None, target).await
    }

    /// Listens on `near` and carries what comes to `target`, from the address `from` of this machine where one is given.
    ///
    /// # Errors
    /// As [`Proxy::to`].
    pub(crate) async fn between(near: SocketAddr, from: Option<IpAddr>, target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(near).await.context("the fault proxy cannot bind a port")?;
        let port = listener.local_addr().context("no local address")?.port();
        let (plan, watched) = watch::channel(Plan::default());
        let counts = Arc::new(Counts::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Far { target, from }, watched, Arc::clone(&counts)));
        Ok(Self { port, plan, counts, _tasks: tasks })
    }

    /// The same for a port of 127.0.0.1.
    ///
    /// # Errors
    /// As [`Proxy::to`].
    pub async fn to_port(port: u16) -> Result<Self> {
        Self::to(SocketAddr::from(([127, 0, 0, 1], port))).await
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Delays both directions by `each_way`, without jitter. A new connection also pays for its handshake.
    pub fn delay(&self, each_way: Duration) {
        for direction in [Direction::Up, Direction::Down] {
            self.delay_one_way(direction, each_way, Duration::ZERO);
        }
    }

    /// Delays one direction by `delay` and up to `jitter` more.
    pub fn delay_one_way(&self, direction: Direction, delay: Duration, jitter: Duration) {
        self.change(|plan| {
            let way = plan.way_mut(direction);
            way.delay = delay;
            way.jitter = jitter;
        });
    }

    /// Keeps the bytes of one direction back: the line is half-open, and nobody is told.
    pub fn hold(&self, direction: Direction) {
        self.change(|plan| plan.way_mut(direction).held = Held::Yes);
    }

    /// Lets the bytes of one direction go on.
    pub fn release(&self, direction: Direction) {
        self.change(|plan| plan.way_mut(direction).held = Held::No);
    }

    /// Resets every open connection; new ones are treated as before.
    pub fn cut(&self) {
        self.change(|plan| plan.cuts += 1);
    }

    /// Closes the port: new connections are refused. Open ones live on.
    pub fn refuse(&self) {
        self.change(|plan| plan.greeting = Greeting::Refuse);
    }

    /// Accepts new connections and never answers them. Open ones live on.
    pub fn hang(&self) {
        self.change(|plan| plan.greeting = Greeting::Hang);
    }

    /// A partition without a word: open connections fall silent in both directions, new ones hang.
    pub fn partition(&self) {
        self.change(|plan| {
            plan.greeting = Greeting::Hang;
            plan.up.held = Held::Yes;
            plan.down.held = Held::Yes;
        });
    }

    /// Ends a partition and leaves the delay: what was held goes on, and connections that were never answered are reset, as a peer does
    /// that has given them up.
    pub fn rejoin(&self) {
        self.change(|plan| {
            plan.greeting = Greeting::Serve;
            plan.up.held = Held::No;
            plan.down.held = Held::No;
        });
    }

    /// Ends every fault, the delay too.
    pub fn heal(&self) {
        self.change(|plan| {
            *plan = Plan { cuts: plan.cuts, ..Plan::default() };
        });
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Bytes delivered in one direction so far.
    pub fn bytes(&self, direction: Direction) -> u64 {
        let counter = match direction {
            Direction::Up => &self.counts.up_bytes,
            Direction::Down => &self.counts.down_bytes,
        };
        counter.load(Ordering::Relaxed)
    }

    fn change(&self, change: impl FnOnce(&mut Plan)) {
        self.plan.send_modify(change);
    }
}

/// Accepts for as long as the proxy lives, closing and opening the port as the plan says.
async fn accept(listener: TcpListener, far: Far, mut plan: watch::Receiver<Plan>, counts: Arc<Counts>) {
    let Ok(address) = listener.local_addr() else {
        return;
    };
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let now = *plan.borrow_and_update();
        match (now.greeting, &listener) {
            (Greeting::Refuse, Some(_)) => listener = None,
            (Greeting::Serve | Greeting::Hang, None) => {
                // Another program may hold the port for a moment; the next change or round tries again.
                listener = TcpListener::bind(address).await.ok();
                if listener.is_none() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
            }
            (Greeting::Refuse, None) | (Greeting::Serve | Greeting::Hang, Some(_)) => {}
        }
        tokio::select! {
            changed = plan.changed() => if changed.is_err() { return },
            accepted = next(listener.as_ref()) => {
                counts.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(carry(accepted, far, plan.clone(), Arc::clone(&counts)));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn next(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
        tokio::task::yield_now().await;
    }
}

/// Carries one connection until both sides have ended, one has failed, or a cut comes.
async fn carry(mut near: TcpStream, far: Far, mut plan: watch::Receiver<Plan>, counts: Arc<Counts>) {
    let born = *plan.borrow();
    // Whatever ends a connection early must look like a reset, not like an orderly end.
    let reset = |stream: &TcpStream| drop(stream.set_zero_linger());
    if born.greeting == Greeting::Hang {
        drop(plan.wait_for(|now| now.cuts != born.cuts || now.greeting != Greeting::Hang).await);
        reset(&near);
        return;
    }
    let Ok(mut far) = far.dial().await else {
        reset(&near);
        return;
    };
    drop((near.set_nodelay(true), far.set_nodelay(true)));

    let carried = {
        // The handshake of a real line costs a round trip before the first byte.
        let opened = tokio::time::Instant::now() + born.up.delay + born.down.delay;
        let (near_reader, near_writer) = near.split();
        let (far_reader, far_writer) = far.split();
        let up = line::Line { direction: Direction::Up, plan: plan.clone(), opened, delivered: &counts.up_bytes };
        let down = line::Line { direction: Direction::Down, plan: plan.clone(), opened, delivered: &counts.down_bytes };
        tokio::select! {
            ended = async { tokio::try_join!(up.carry(near_reader, far_writer), down.carry(far_reader, near_writer)) } =>
                ended.is_ok(),
            _ = plan.wait_for(|now| now.cuts != born.cuts) => false,
        }
    };
    if !carried {
        reset(&near);
        reset(&far);
    }
}
