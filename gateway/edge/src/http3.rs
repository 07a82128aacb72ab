//! HTTP/3 for clients (RFC 9114): QUIC connections, and on each what HTTP/1.1 and HTTP/2 have on theirs. A request goes the
//! same way as any other from [`crate::serve::handle`] on.
//!
//! QUIC itself is quinn's. What stands above it is our own, because it is where a gateway decides what a request is; see
//! docs/adr/0015. Reading order: this file is a connection's life; [`exchange`] is one request; [`head`] and [`body`] turn what
//! [`wire`] and [`qpack`] read into a request; [`control`] is what a client says about its connection, [`credit`] how much of
//! it may move nothing; [`endpoint`] is what lies below.

mod body;
mod code;
mod control;
mod credit;
mod endpoint;
mod exchange;
mod head;
mod qpack;
mod table;
mod wire;

use std::{future::Future, net::UdpSocket, pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use quinn::{Endpoint, Incoming, RecvStream, SendStream, ServerConfig};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

pub use self::{
    body::Body,
    endpoint::{Http3Error, bind},
};
use self::{
    code::Code,
    control::Claimed,
    credit::Credit,
    exchange::{End, Shared},
};
use crate::{
    accept::{
        self, Connections, NodePhase, Opened,
        entrance::{Acceptors, Entered},
    },
    certificate::Shown,
    runtime::{Core, Settings},
    tls::{Certificates, Peer, Protocol},
    watch::Watch,
};

/// How a node speaks HTTP/3: the same on all cores.
#[derive(Debug)]
pub struct Quic(ServerConfig);

impl Quic {
    /// Speaks over the chains of the data listener.
    ///
    /// # Errors
    /// See [`Http3Error`].
    pub fn new(certificates: Arc<Certificates>, settings: &Settings) -> Result<Self, Http3Error> {
        endpoint::server_config(certificates, settings).map(Self)
    }

    /// A core's door, and where its socket goes. It may go there later: after a hand-over the process before has the port until
    /// it is done.
    pub fn door(&self) -> (oneshot::Sender<UdpSocket>, Door) {
        let (sender, socket) = oneshot::channel();
        (sender, Door { config: self.0.clone(), socket })
    }
}

/// What a core needs to serve HTTP/3.
#[derive(Debug)]
pub struct Door {
    config: ServerConfig,
    socket: oneshot::Receiver<UdpSocket>,
}

/// How long the last words of a closed connection may take to leave.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// Serves connections until the node drains, and gives back what the last ones still need.
pub(crate) async fn accept(
    core: &Arc<Core>,
    connections: &Arc<Connections>,
    acceptors: &Arc<Acceptors>,
    door: Option<Door>,
    phase: watch::Receiver<NodePhase>,
) -> Option<Endpoint> {
    let door = door?;
    let mut draining = phase.clone();
    let socket = tokio::select! {
        socket = door.socket => socket.ok()?,
        _draining = draining.wait_for(|phase| *phase == NodePhase::Draining) => return None,
    };
    let endpoint = match endpoint::listen(socket, door.config) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a data-plane thread cannot serve HTTP/3");
            return None;
        }
    };
    loop {
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) => admit(core, connections, acceptors, incoming, &phase),
                None => break,
            },
            _draining = draining.wait_for(|phase| *phase == NodePhase::Draining) => break,
        }
    }
    Some(endpoint)
}

/// Tells everybody who still comes that nobody serves here; does not end by itself.
pub(crate) async fn refuse(endpoint: Option<&Endpoint>) {
    if let Some(endpoint) = endpoint {
        while let Some(incoming) = endpoint.accept().await {
            incoming.refuse();
        }
    }
    std::future::pending::<()>().await;
}

/// Waits until what the last connections had to say has left.
pub(crate) async fn flushed(endpoint: &Endpoint) {
    tokio::time::timeout(LAST_WORDS_WITHIN, endpoint.wait_idle()).await.ok();
}

fn admit(core: &Arc<Core>, connections: &Arc<Connections>, acceptors: &Arc<Acceptors>, incoming: Incoming, phase: &watch::Receiver<NodePhase>) {
    let address = incoming.remote_address().ip().to_canonical();
    let is_full = usize::try_from(core.counters.open()).is_ok_and(|open| open >= core.edge.settings.connections_max);
    // Behind a balancer that must say whose connections it passes on nobody can say it over QUIC.
    if is_full || acceptors.is_proxy(address) {
        core.counters.connection_refused();
        incoming.refuse();
        return;
    }
    // Anybody can write any address on a datagram: nothing is counted for it, and nothing kept, until it is proven (RFC 9000
    // section 8.1.2).
    if !incoming.remote_address_validated() {
        if let Err(error) = incoming.retry() {
            error.into_incoming().refuse();
        }
        return;
    }
    let Some(entered) = acceptors.enter(address) else {
        core.counters.connection_refused();
        incoming.refuse();
        return;
    };
    core.counters.connection_opened();
    let watch = Watch::new(&connections.tick);
    connections.watches.lock().push(Arc::clone(&watch));
    let (core, phase) = (Arc::clone(core), phase.clone());
    accept::spawn(async move {
        let guard = Opened(Arc::clone(&core));
        tokio::select! {
            () = connection(&core, incoming, entered, Arc::clone(&watch), phase) => {}
            () = watch.killed() => {}
        }
        drop(guard);
    });
}

async fn connection(core: &Arc<Core>, incoming: Incoming, entered: Entered, watch: Arc<Watch>, phase: watch::Receiver<NodePhase>) {
    let opened = async {
        let connection = incoming.accept()?.await?;
        let mut control = connection.open_uni().await?;
        control.write_all_chunks(&mut [control::settings(core.edge.settings.head_bytes_max)]).await?;
        Ok::<_, quinn::WriteError>((connection, control))
    };
    let Ok(Ok((connection, control))) = tokio::time::timeout(core.edge.settings.handshake_timeout, opened).await else {
        core.counters.handshake_failed();
        return;
    };
    core.counters.http3_connection();
    let shared = Arc::new(Shared {
        core: Arc::clone(core),
        peer: Arc::new(Peer::new(entered.address, Protocol::Http3, endpoint::tls_facts(&connection), Shown::NotAsked)),
        credit: Arc::new(Credit::new(watch.tick())),
        watch,
        connection,
    });
    let session = Session {
        shared,
        control,
        claimed: Arc::default(),
        requests: FuturesUnordered::new(),
        talks: FuturesUnordered::new(),
        leave: Leave::Stays,
        next: 0,
    };
    session.run(phase).await;
    drop(entered);
}

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One connection.
struct Session {
    shared: Arc<Shared>,
    control: SendStream,
    claimed: Arc<Claimed>,
    requests: FuturesUnordered<Task<End>>,
    /// The client's streams about the connection.
    talks: FuturesUnordered<Task<Result<(), Code>>>,
    leave: Leave,
    /// The first request stream that has not come.
    next: u64,
}

/// How far the connection is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    /// It serves.
    Stays,
    /// The client was told that the end is near, and what it had sent before it heard is served (RFC 9114 section 5.2).
    Warned(Instant),
    /// The client was told which request was the last one.
    Told,
}

/// What an event asks for.
#[derive(Debug, Clone, Copy)]
enum Step {
    Stay,
    Warn,
    Tell,
}

/// Above every stream: no request is refused yet. The largest number that is a client's request stream.
const EVERY_STREAM: u64 = (1 << 62) - 4;
/// From one request stream to the next.
const STREAM_STEP: u64 = 4;

impl Session {
    async fn run(mut self, mut phase: watch::Receiver<NodePhase>) {
        let shared = Arc::clone(&self.shared);
        let (connection, watch) = (&shared.connection, &shared.watch);
        while self.leave != Leave::Told || !self.requests.is_empty() {
            let warned_until = match self.leave {
                Leave::Warned(until) => Some(until),
                Leave::Stays | Leave::Told => None,
            };
            let stays = self.leave == Leave::Stays;
            let step = tokio::select! {
                stream = connection.accept_bi() => match stream {
                    Ok((send, receive)) => self.begin(send, receive),
                    Err(_) => return,
                },
                stream = connection.accept_uni() => match stream {
                    Ok(stream) => self.listen(stream),
                    Err(_) => return,
                },
                Some(end) = self.requests.next() => self.ended(end),
                Some(talk) = self.talks.next() => self.talked(talk),
                () = watch.left_alone(), if stays => Step::Warn,
                _draining = phase.wait_for(|phase| *phase == NodePhase::Draining), if stays => Step::Warn,
                () = tokio::time::sleep_until(warned_until.unwrap_or_else(Instant::now)), if warned_until.is_some() => Step::Tell,
            };
            match step {
                Step::Stay => {}
                Step::Warn => self.warn().await,
                Step::Tell => self.tell().await,
            }
        }
        connection.close(Code::NoError.wire(), b"");
    }

    fn begin(&mut self, mut send: SendStream, mut receive: RecvStream) -> Step {
        let id = u64::from(send.id());
        if self.leave == Leave::Told {
            send.reset(Code::RequestRejected.wire()).ok();
            receive.stop(Code::RequestRejected.wire()).ok();
            return Step::Stay;
        }
        self.next = id + STREAM_STEP;
        self.shared.watch.touch();
        self.requests.push(Box::pin(exchange::run(Arc::clone(&self.shared), send, receive)));
        Step::Stay
    }

    fn listen(&self, stream: RecvStream) -> Step {
        let (claimed, credit) = (Arc::clone(&self.claimed), Arc::clone(&self.shared.credit));
        self.talks.push(Box::pin(async move { control::read(stream, &claimed, &credit).await }));
        Step::Stay
    }

    fn talked(&self, talk: Result<(), Code>) -> Step {
        if let Err(code) = talk {
            self.shared.close(code);
        }
        Step::Stay
    }

    fn ended(&self, end: End) -> Step {
        self.shared.watch.touch();
        match end {
            End::Whole => self.shared.credit.answered(),
            End::Cut => {}
            End::GivenUp => {
                if !self.shared.credit.reset() {
                    self.shared.close(Code::ExcessiveLoad);
                }
            }
        }
        Step::Stay
    }

    /// Says that the end is near.
    async fn warn(&mut self) {
        // What is on its way takes one round; three leave room for a lost packet.
        let grace = (self.shared.connection.rtt() * 3).clamp(Duration::from_millis(50), Duration::from_secs(1));
        control::go_away(&mut self.control, EVERY_STREAM).await.ok();
        self.leave = Leave::Warned(Instant::now() + grace);
    }

    /// Says which request was the last one.
    async fn tell(&mut self) {
        control::go_away(&mut self.control, self.next).await.ok();
        self.leave = Leave::Told;
    }
}
