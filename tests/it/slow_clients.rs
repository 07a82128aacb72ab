//! Clients that stall, trickle or go away: each is cut off in time, leaves one record, and costs the others nothing.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use harness::client::Version;
use harness::dev::Dev;
use harness::node::{Node, Under};
use harness::wait;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::service::{Act, Service, ok, raw_then, read_request};
use crate::site::{SOON, Site, apply, site, source, upstream};
use crate::wire::{self, DATA, END_STREAM, Frames, GOAWAY, HEADERS, PING, RST_STREAM, Wire, frame, tcp};

/// A deployment whose node is impatient, so that the test need not be patient.
struct Hasty {
    dev: Dev,
    _node: Node,
    address: SocketAddr,
    ca: PathBuf,
    service: Service,
    /// Paths of large answers that the node stopped taking.
    cut: Arc<Mutex<Vec<String>>>,
    _stream: JoinSet<()>,
}

/// A head may take 2 s, a pause 2 s, an idle connection 5 s. The sweep looks once a second.
const LIMITS: &str = "limits: { head_timeout: 2s, stall_timeout: 2s, idle_timeout: 5s }\n";
const HEAD: &str = "host: 127.0.0.1\r\n";

impl Hasty {
    async fn start() -> Self {
        let dev = Dev::start().await.unwrap();
        let region = dev.writer().unwrap().clone();
        let mut node = Node::adopt(&dev, &region).unwrap();
        node.kill().await.unwrap();
        node.reconfigure(|text| format!("{text}{LIMITS}")).unwrap();
        node.start(Under::Bare).await.unwrap();
        let (plain, large) = (listener().await, listener().await);
        let ports = [plain.local_addr().unwrap().port(), large.local_addr().unwrap().port()];
        let document = document(ports);
        apply(&dev, &document, &dev.ready().ca.with_file_name("hasty.json"));
        let cut = Arc::<Mutex<Vec<String>>>::default();
        let hasty = Self {
            address: region.data_address().unwrap(),
            ca: dev.ready().ca.clone(),
            service: Service::start(plain, |_| ok("served")),
            _stream: endless(large, Arc::clone(&cut)),
            cut,
            dev,
            _node: node,
        };
        let http = harness::client::http(&hasty.ca, Version::Http1).unwrap();
        let url = format!("{}/plain", region.data);
        wait::until("the routes", SOON, async || http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200)).await.unwrap();
        hasty
    }

    async fn wire(&self) -> Wire {
        Wire::connect(self.address, &self.ca, "http/1.1", None).await
    }

    async fn frames(&self, settings: &[(u16, u32)]) -> Frames {
        Frames::connect_to(self.address, &self.ca, None, settings).await
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

fn document([plain, large]: [u16; 2]) -> Value {
    let schema = json!({ "type": "object" });
    let api = json!({ "openapi": "3.1.0", "info": { "title": "t", "version": "1" }, "paths": { "/checked": { "post": {
        "operationId": "post", "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } }, "responses": { "200": { "description": "fine" } },
    } } } });
    json!({
        "version": 1,
        "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
        "tenants": [{ "name": "demo", "hosts": ["127.0.0.1"] }],
        "apis": [{ "name": "api", "openapi": api }],
        "upstreams": [upstream("plain", plain), upstream("large", large)],
        "routes": [
            { "name": "plain", "match": { "path": "/plain/**" }, "auth": "none", "upstream": "plain", "timeout": "3s" },
            { "name": "checked", "match": { "path": "/checked/**" }, "auth": "none", "upstream": "plain", "api": "api", "timeout": "3s" },
            { "name": "large", "match": { "path": "/large/**" }, "auth": "none", "upstream": "large" },
        ],
    })
}

/// Answers with 64 MiB, and notes which answers could not be sent.
fn endless(listener: TcpListener, cut: Arc<Mutex<Vec<String>>>) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let cut = Arc::clone(&cut);
            served.spawn(async move {
                let Ok(request) = read_request(&mut stream, &mut Vec::new(), 0).await else { return };
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n").await);
                let piece = vec![b'a'; 1 << 16];
                for _ in 0..1_024 {
                    if stream.write_all(&piece).await.is_err() {
                        cut.lock().unwrap_or_else(PoisonError::into_inner).push(request.line().to_owned());
                        return;
                    }
                }
            });
        }
    });
    task
}

#[tokio::test]
async fn clients_that_stall_are_cut_off_in_time_and_idle_ones_are_not() {
    let hasty = Hasty::start().await;
    let whole = async {
        tokio::join!(
            slow_head_is_cut_off(&hasty),
            slow_first_byte_is_only_idle(&hasty),
            kept_connection_outlives_the_time_for_a_head(&hasty),
            stalled_body_is_answered_408(&hasty),
            trickled_body_ends_with_its_routes_deadline(&hasty, "/checked"),
            trickled_body_ends_with_its_routes_deadline(&hasty, "/plain"),
            client_that_does_not_read_is_cut_off(&hasty),
            idle_http2_client_is_told_that_its_connection_ends(&hasty),
            http2_client_without_window_is_cut_off(&hasty),
            open_handshake_is_cut_off(&hasty),
        );
    };
    timeout(Duration::from_secs(40), Box::pin(whole)).await.expect("every client is cut off in time");

    assert!(
        hasty.service.seen().iter().all(|seen| seen.line().starts_with("GET")),
        "no half request came as a whole one: {:?}",
        hasty.service.seen()
    );
    hasty.dev.stop().await.ok();
}

async fn slow_head_is_cut_off(hasty: &Hasty) {
    let mut wire = hasty.wire().await;
    let began = Instant::now();
    let mut pulse = tokio::time::interval(Duration::from_millis(300));
    wire.send("GET /plain HTTP/1.1\r\nx-drip: ").await;
    loop {
        pulse.tick().await;
        // The first write after the end may still be taken by the kernel.
        if !wire.send("a").await || wire.closes(Duration::from_millis(1)).await {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(8), "a head that trickles holds its connection");
    }
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
}

async fn slow_first_byte_is_only_idle(hasty: &Hasty) {
    let mut wire = hasty.wire().await;
    assert!(!wire.closes(Duration::from_millis(3_500)).await, "nothing has begun: the time for a head does not run");
    assert!(wire.closes(Duration::from_secs(6)).await, "an idle connection ends after its own time");
}

async fn kept_connection_outlives_the_time_for_a_head(hasty: &Hasty) {
    let mut wire = hasty.wire().await;
    assert_eq!(wire.get("/plain/kept").await.unwrap().status, 200);
    assert!(!wire.closes(Duration::from_millis(3_500)).await, "a kept connection is idle, not late");
    assert_eq!(wire.get("/plain/kept").await.map(|answer| answer.status), Some(200));
}

async fn stalled_body_is_answered_408(hasty: &Hasty) {
    for (path, fields) in [("/plain", ""), ("/checked", "content-type: application/json\r\n")] {
        let mut wire = hasty.wire().await;
        wire.send(format!("POST {path} HTTP/1.1\r\n{HEAD}{fields}content-length: 10\r\n\r\n{{")).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (408, "request-timeout"), "{path}");
    }
}

async fn trickled_body_ends_with_its_routes_deadline(hasty: &Hasty, path: &str) {
    let mut wire = hasty.wire().await;
    let began = Instant::now();
    wire.send(format!("POST {path} HTTP/1.1\r\n{HEAD}content-type: application/json\r\ncontent-length: 100\r\n\r\n{{")).await;
    let mut pulse = tokio::time::interval(Duration::from_millis(500));
    let answer = loop {
        pulse.tick().await;
        wire.send(" ").await;
        if let Ok(answer) = timeout(Duration::from_millis(1), wire.answer()).await {
            break answer.unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(8), "{path}: a body that trickles holds its request for ever");
    };
    assert_eq!((answer.status, answer.code().as_str()), (408, "request-timeout"), "{path}");
}

async fn client_that_does_not_read_is_cut_off(hasty: &Hasty) {
    let mut wire = hasty.wire().await;
    wire.send(format!("GET /large/unread HTTP/1.1\r\n{HEAD}\r\n")).await;
    wire.some(1).await;
    let is_cut = async || hasty.cut.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|line| line.contains("unread"));
    wait::until("the end of an answer that nobody reads", Duration::from_secs(9), is_cut).await.unwrap();
}

/// The socket moves, pings are answered, but no window is given: nothing below HTTP/2 sees that.
async fn http2_client_without_window_is_cut_off(hasty: &Hasty) {
    let mut frames = hasty.frames(&[(4, 1_024)]).await;
    frames.send(wire::request(1, "GET", "/large", &[], END_STREAM)).await;
    let began = Instant::now();
    assert!(frames.closes(Duration::from_secs(9)).await, "a stream without window holds its connections");
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
}

async fn idle_http2_client_is_told_that_its_connection_ends(hasty: &Hasty) {
    let mut frames = hasty.frames(&[]).await;
    let mut goaway = None;
    while let Some(frame) = frames.next().await {
        if frame.kind == GOAWAY {
            goaway = Some(frame.payload);
        }
    }

    assert_eq!(goaway.as_deref().and_then(|payload| payload.get(4..8)), Some([0; 4].as_slice()), "NO_ERROR before the end");
}

async fn open_handshake_is_cut_off(hasty: &Hasty) {
    for bytes in [&b""[..], &[0x16], &[0x16, 3, 1, 2, 0, 1]] {
        let mut stream = tcp(hasty.address, None).await;
        stream.write_all(bytes).await.unwrap();
        let mut sink = Vec::new();
        timeout(Duration::from_secs(13), stream.read_to_end(&mut sink)).await.expect("a handshake has 10 s").ok();
    }
}

/// How a client goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    BeforeTheAnswer,
    InTheRequest,
    InTheAnswer,
    AfterTheAnswer,
}

/// At whatever stage a client goes away: one outcome, and at most one close that tells how far it came.
#[tokio::test]
async fn each_abort_leaves_exactly_one_outcome() {
    let site = site().await;
    let service = site.service("abort", |seen| match seen.line() {
        line if line.contains("/hang") => vec![Act::Hang],
        line if line.contains("/half") => raw_then("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", Act::Hang),
        _ => ok("served"),
    });
    let mut expected = HashMap::new();

    for round in 0..3 {
        for leave in [Leave::BeforeTheAnswer, Leave::InTheRequest, Leave::InTheAnswer, Leave::AfterTheAnswer] {
            for version in [Version::Http1, Version::Http2] {
                let id = format!("abort-{leave:?}-{version:?}-{round}").to_lowercase();
                match version {
                    Version::Http1 => leave_http1(site, &service, leave, &id).await,
                    Version::Http2 => leave_http2(site, &service, leave, &id).await,
                }
                expected.insert(id, leave);
            }
        }
    }
    // A head that never ended is no request, and a record behind all the others tells that those are loaded.
    drop({
        let mut wire = Wire::http1(site).await;
        wire.send(format!("GET /abort HTTP/1.1\r\n{HEAD}x-request-id: abort-head-only\r\n")).await;
        wire
    });

    for (id, leave) in &expected {
        let outcomes_allowed: &[&str] = match leave {
            Leave::BeforeTheAnswer => &["aborted"],
            // A body that broke off is seen as that, or as a client that went away: whichever shows first.
            Leave::InTheRequest => &["aborted", "denied"],
            Leave::InTheAnswer | Leave::AfterTheAnswer => &["ok"],
        };
        let n = if *leave == Leave::InTheAnswer { 2 } else { 1 };
        site.records(&format!("request_id={id}"), n).await;
        let outcomes = site.records(&format!("request_id={id}&phase=outcome"), 1).await;
        assert!(outcomes.len() == 1 && outcomes_allowed.iter().any(|allowed| outcomes[0]["outcome"] == *allowed), "{id}: {outcomes:?}");
    }
    for (id, leave) in &expected {
        let closes = site.records(&format!("request_id={id}&phase=close"), 0).await;
        let wanted: &[&str] = if *leave == Leave::InTheAnswer { &["aborted"] } else { &[] };
        assert_eq!(closes.iter().map(|record| record["outcome"].as_str().unwrap()).collect::<Vec<_>>(), wanted, "{id}");
        assert_eq!(site.records(&format!("request_id={id}&phase=outcome"), 1).await.len(), 1, "{id}");
    }
    assert_eq!(site.records("request_id=abort-head-only", 0).await.len(), 0);
}

/// Waits until the service has the request: a client that leaves with unread bytes resets its connection, and what it sent
/// before may be lost with it.
async fn arrived(service: &Service, id: &str) {
    wait::until("the request at the service", SOON, async || service.seen().iter().any(|seen| seen.header("x-request-id") == [id])).await.unwrap();
}

async fn leave_http1(site: &Site, service: &Service, leave: Leave, id: &str) {
    let mut wire = Wire::http1(site).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\n{HEAD}x-request-id: {id}\r\n\r\n");
    match leave {
        Leave::BeforeTheAnswer => {
            wire.send(get("/abort/hang")).await;
            arrived(service, id).await;
        }
        Leave::InTheRequest => {
            let more = "\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n";
            wire.send(get("/abort").replace("GET", "POST").replace("\r\n\r\n", more)).await;
            assert_eq!(wire.answer().await.unwrap().status, 100);
            wire.send("half").await;
        }
        Leave::InTheAnswer => {
            wire.send(get("/abort/half")).await;
            wire.some(60).await;
        }
        Leave::AfterTheAnswer => {
            wire.send(get("/abort")).await;
            assert_eq!(wire.answer().await.unwrap().status, 200);
        }
    }
}

async fn leave_http2(site: &Site, service: &Service, leave: Leave, id: &str) {
    let mut frames = Frames::connect(site, Some(source(9)), &[]).await;
    let fields = [("x-request-id", id)];
    match leave {
        Leave::BeforeTheAnswer => {
            frames.send(wire::request(1, "GET", "/abort/hang", &fields, END_STREAM)).await;
            arrived(service, id).await;
        }
        Leave::InTheRequest => {
            frames.send([wire::request(1, "POST", "/abort", &fields, 0), frame(DATA, 0, 1, b"half"), frame(PING, 0, 0, &[0; 8])].concat()).await;
            while frames.next().await.is_some_and(|frame| frame.kind != PING) {}
        }
        Leave::InTheAnswer => {
            frames.send(wire::request(1, "GET", "/abort/half", &fields, END_STREAM)).await;
            while frames.next().await.is_some_and(|frame| frame.kind != DATA) {}
            frames.send(frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await;
        }
        Leave::AfterTheAnswer => {
            frames.send(wire::request(1, "GET", "/abort", &fields, END_STREAM)).await;
            assert!(frames.stream(1).await.iter().any(|frame| frame.kind == HEADERS));
        }
    }
}
