//! Calls of gRPC by way of another region's gateway.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use harness::wait;
use tokio::net::TcpListener;
use tonic::metadata::{KeyAndValueRef, MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status};

use super::place::{Other, Place, WITHIN};
use crate::grpc::play::{Answer, Asked, Client, Service, messages, play};
use crate::grpc::take_turns;
use crate::wire::{self, DATA, END_STREAM, Frames, RST_STREAM, frame};

/// What differs from call to call, and `via`, which tells of the crossing.
const OWN: [&str; 3] = ["via", "x-request-id", "date"];

fn metadata() -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert("x-why", "as told".parse().unwrap());
    metadata.insert_bin("x-why-bin", MetadataValue::from_bytes(&[0, 1, 255]));
    metadata
}

/// The end of a call that went well, with trailers of its own.
fn told() -> Status {
    Status::with_metadata(Code::Ok, "all told: 100 % ä", metadata())
}

fn failed() -> Status {
    Status::with_details_and_metadata(Code::FailedPrecondition, "no: 100 % ä", Bytes::from_static(b"details"), metadata())
}

fn act(asked: Asked) -> Answer {
    let piece = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
    let mut answer = match asked.path.as_str() {
        "/calls/Unary" => messages([piece("one"), Err(told())]),
        "/calls/Stream" => messages([piece("one"), piece("two"), piece("three"), Err(told())]),
        "/calls/Fails" => messages([piece("one"), Err(failed())]),
        "/calls/Refuses" => return Err(failed()),
        "/calls/Watch" => Response::new(stream::iter([piece("one")]).chain(stream::pending()).boxed()),
        _ => Response::new(asked.messages.boxed()),
    };
    answer.metadata_mut().insert("x-first", "first".parse().unwrap());
    Ok(answer)
}

fn shown(metadata: &MetadataMap) -> BTreeMap<String, String> {
    let pair = |pair: KeyAndValueRef<'_>| match pair {
        KeyAndValueRef::Ascii(name, value) => (name.to_string(), format!("{value:?}")),
        KeyAndValueRef::Binary(name, value) => (name.to_string(), format!("{value:?}")),
    };
    metadata.iter().map(pair).filter(|(name, _)| !OWN.contains(&name.as_str())).collect()
}

/// All that a client sees of a call: what came first, the messages, and what came last.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    first: BTreeMap<String, String>,
    messages: Vec<Bytes>,
    last: BTreeMap<String, String>,
    status: Option<(Code, String, Bytes)>,
}

impl Seen {
    fn ended(mut self, status: &Status) -> Self {
        self.status = Some((status.code(), status.message().to_owned(), Bytes::copy_from_slice(status.details())));
        self.last = shown(status.metadata());
        self
    }
}

async fn call(client: &mut Client, path: &'static str) -> Seen {
    let mut seen = Seen::default();
    let request = Request::new(stream::iter([Bytes::from_static(b"ask"), Bytes::from_static(b"more")]));
    let response = match client.streaming(path, request).await {
        Ok(response) => response,
        Err(status) => return seen.ended(&status),
    };
    seen.first = shown(response.metadata());
    let mut answer = response.into_inner();
    loop {
        match answer.message().await {
            Ok(Some(message)) => seen.messages.push(message),
            Ok(None) => break,
            Err(status) => return seen.ended(&status),
        }
    }
    seen.last = shown(&answer.trailers().await.unwrap().unwrap_or_default());
    seen
}

async fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

async fn place() -> (Place, Service) {
    let (calls, dead) = (listener().await, listener().await);
    let other = |name, listener: &TcpListener| Other { name, address: listener.local_addr().unwrap(), protocol: "http2" };
    let place = Place::start_with(&[other("calls", &calls), other("dead", &dead)]).await;
    // Nobody listens there from now on.
    drop(dead);
    (place, play(calls, |asked| if asked.path.ends_with("/Hang") { std::future::pending().boxed() } else { std::future::ready(act(asked)).boxed() }))
}

async fn client(place: &Place, region: &str) -> Client {
    Client::connect(place.region(region).data_address().unwrap(), &place.dev.ready().ca).await
}

fn problem(status: &Status) -> (Code, Option<&str>) {
    (status.code(), status.metadata().get("causeway-problem").map(|value| value.to_str().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_cross_end_as_those_that_do_not() {
    let (place, service) = place().await;
    let (mut eu, mut us) = (client(&place, "eu-west").await, client(&place, "us-east").await);

    for path in ["/calls/Unary", "/calls/Stream", "/calls/Fails", "/calls/Refuses", "/calls/Echo"] {
        let (near, far) = (call(&mut eu, path).await, call(&mut us, path).await);
        assert_eq!(far, near, "{path}");
        let ends = [&far.last, &far.first].map(|metadata| metadata.get("x-why").cloned());
        assert_eq!(ends[0].is_some(), path != "/calls/Echo", "{path}: {far:?}");
        assert_eq!(ends[1], None, "{path}: what comes last does not come first");
    }
    let whole = call(&mut us, "/calls/Stream").await;
    assert_eq!(whole.messages, ["one", "two", "three"]);
    assert!(whole.first.contains_key("x-first") && whole.last.contains_key("x-why-bin"), "{whole:?}");
    let failure = call(&mut us, "/calls/Fails").await.status.unwrap();
    assert_eq!(failure, (Code::FailedPrecondition, "no: 100 % ä".to_owned(), Bytes::from_static(b"details")));
    let request = || Request::new(Bytes::from_static(b"ask"));
    let (near, far) = (eu.unary("/calls/Unary", request()).await.unwrap(), us.unary("/calls/Unary", request()).await.unwrap());
    assert_eq!((shown(far.metadata()), far.get_ref()), (shown(near.metadata()), near.get_ref()));
    let vias = |seen: &http::HeaderMap| seen.get_all("via").iter().count();
    assert_eq!(service.seen().last().map(vias), Some(2), "it has crossed");

    take_turns(&mut us, "/calls/Echo").await;
    place.wait_idle().await;
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_cross_are_refused_and_broken_off_with_a_status() {
    let (mut place, service) = place().await;
    let mut us = client(&place, "us-east").await;
    let request = || Request::new(Bytes::from_static(b"ask"));

    // The other gateway finds nobody, and this one says so in the client's form.
    let refused = us.unary("/dead/Unary", request()).await.unwrap_err();
    assert_eq!(problem(&refused), (Code::Unavailable, Some("upstream-unreachable")), "{refused:?}");
    assert!(!refused.message().is_empty() && refused.metadata().get("causeway-crossing").is_none(), "{refused:?}");

    // The client's time goes with the call, and ends it on both sides.
    let mut request_in_time = request();
    request_in_time.set_timeout(Duration::from_millis(500));
    let late = us.unary("/calls/Hang", request_in_time).await.unwrap_err();
    assert_eq!(problem(&late), (Code::DeadlineExceeded, Some("upstream-timeout")), "{late:?}");
    let told = service.seen().pop().unwrap();
    let told = model::grpc::parse_timeout(told["grpc-timeout"].as_bytes()).unwrap();
    assert!(told <= Duration::from_millis(500) && told > Duration::from_millis(50), "{told:?}");
    wait::until("the end of the call at the service", WITHIN, async || service.open() == 0).await.unwrap();

    // A client that leaves ends its call at the service, whether its own messages were over or not.
    for (is_over, is_reset) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut frames = Frames::connect_to(place.region("us-east").data_address().unwrap(), &place.dev.ready().ca, None, &[]).await;
        let fields = [("content-type", "application/grpc"), ("te", "trailers")];
        let message = frame(DATA, if is_over { END_STREAM } else { 0 }, 1, b"\0\0\0\0\x03ask");
        frames.send([wire::request(1, "POST", "/calls/Watch", &fields, 0), message].concat()).await;
        while frames.next().await.expect("a message").kind != DATA {}
        assert_eq!(service.open(), 1);
        if is_reset {
            frames.send(frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await;
        } else {
            drop(frames);
        }
        let ended = wait::until("the end of the call at the service", WITHIN, async || service.open() == 0).await;
        assert!(ended.is_ok(), "messages over: {is_over}, reset: {is_reset}");
    }

    // The other gateway dies.
    let mut answers = us.streaming("/calls/Watch", Request::new(stream::pending())).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap(), "one");
    place.nodes.get_mut("eu-west").unwrap().kill().await.unwrap();
    let broken = answers.message().await.unwrap_err();
    assert_eq!(problem(&broken), (Code::Unavailable, Some("upstream-unreachable")), "{broken:?}");
    let refused = us.unary("/calls/Unary", request()).await.unwrap_err();
    assert_eq!(problem(&refused), (Code::Unavailable, Some("upstream-unreachable")), "{refused:?}");
    place.wait_idle_in(place.region("us-east")).await;
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_answer_breaks_off_says_why_whether_it_crosses_or_not() {
    let (place, service) = place().await;
    let (mut found, mut wanted) = (Vec::new(), Vec::new());
    for region in ["eu-west", "us-east"] {
        let mut client = client(&place, region).await;
        let unreachable = (Code::Unavailable, Some("upstream-unreachable"));
        for (path, (code, reason)) in [("/calls/Break", unreachable), ("/calls/Watch", (Code::DeadlineExceeded, Some("upstream-timeout")))] {
            let mut request = Request::new(stream::empty());
            if path == "/calls/Watch" {
                request.set_timeout(Duration::from_millis(800));
            }
            let response = client.streaming(path, request).await.unwrap();
            let id = response.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned();
            let mut answers = response.into_inner();
            assert!(answers.message().await.unwrap().is_some());
            if path == "/calls/Break" {
                service.cut();
            }
            let broken = answers.message().await.unwrap_err();
            wait::until("the end of the call at the service", WITHIN, async || service.open() == 0).await.unwrap();
            let closed = async || place.records(&id).await.into_iter().find(|record| record.starts_with(&format!("{region} close")));
            let (closed, _) = wait::some("the record", WITHIN, closed).await.unwrap();
            let (code_found, reason_found) = problem(&broken);
            found.push(format!("{path} in {region}: {code_found:?} {reason_found:?}, {closed}"));
            wanted.push(format!("{path} in {region}: {code:?} {reason:?}, {region} close error"));
        }
    }
    assert_eq!(found, wanted);
    place.stop().await;
}
