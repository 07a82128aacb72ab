//! Calls of gRPC pass as they are, and what the gateway itself says about them is said in their own form.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use futures_util::{FutureExt, Stream};
use harness::wait;
use http::Method;
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status};

use crate::arena::{Arena, Part, arena, part, patient};
use crate::site::SOON;

pub(crate) mod play;

use play::{Answer, Asked, Client, Service, messages, play};

/// The services of these tests, on the arena.
pub(crate) fn parts() -> Vec<Part> {
    let http2 = |more: serde_json::Value| {
        let mut upstream = json!({ "protocol": "http2" });
        upstream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        upstream
    };
    let generous = json!({ "outliers": patient(), "retry_budget": { "percent": 100, "per_second": 100 } });
    let repeated = json!({ "retries": { "on": ["grpc_unavailable"], "backoff": "1ms" } });
    let limits = json!([{ "name": "few", "rate": "2/h", "by": "address" }]);
    let health = json!({ "check": "grpc", "service": "shop.Orders", "interval": "100ms", "unhealthy": 2 });
    let impatient = json!({ "timeouts": { "connect": "2s", "response": "5s", "idle": "500ms" } });
    vec![
        part("grpckinds", 1, http2(json!({})), json!({})),
        part("grpclimited", 1, http2(json!({})), json!({ "limits": limits })),
        part("grpckeyed", 1, http2(json!({})), json!({ "auth": "api_key" })),
        part("grpcslow", 1, http2(json!({})), json!({ "timeout": "1s" })),
        part("grpcbroken", 1, http2(json!({ "outliers": patient() })), json!({})),
        part("grpcrepeated", 1, http2(generous.clone()), repeated),
        part("grpconce", 1, http2(generous), json!({})),
        part("grpccut", 1, http2(json!({})), json!({})),
        part(
            "grpcoutlier",
            2,
            http2(json!({ "balance": "round_robin", "outliers": { "gateway_failures": 3, "rest": "5m", "rest_max": "5m" } })),
            json!({}),
        ),
        part(
            "grpclate",
            2,
            http2(json!({ "balance": "round_robin", "outliers": { "gateway_failures": 3, "rest": "5m", "rest_max": "5m" } })),
            json!({}),
        ),
        part("grpcwell", 2, http2(json!({ "health": health })), json!({})),
        part("grpcquiet", 1, http2(impatient), json!({})),
    ]
}

async fn client(arena: &Arena) -> Client {
    Client::connect(arena.address(), arena.ca()).await
}

fn service(arena: &Arena, name: &str, act: impl Fn(Asked) -> Answer + Clone + Send + Sync + 'static) -> Service {
    play(arena.listener(name, 0), move |asked| std::future::ready(act(asked)).boxed())
}

/// Says what it is told. As real services do, it refuses calls that come over a way which loses trailers.
fn echo(asked: Asked) -> Answer {
    if asked.headers.get("te").is_none_or(|te| te != "trailers") {
        return Err(Status::internal("no trailers"));
    }
    let mut response = Response::new(asked.messages.boxed());
    for name in ["x-plain", "x-data-bin", "x-large"] {
        if let Some(value) = asked.headers.get(name) {
            response.metadata_mut().as_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}

fn text(metadata: &MetadataMap, name: &str) -> Option<String> {
    metadata.get(name).map(|value| value.to_str().unwrap().to_owned())
}

/// The record of the call that was refused with this status.
async fn record(arena: &Arena, metadata: &MetadataMap) -> serde_json::Value {
    let records = arena.records(&text(metadata, "x-request-id").expect("a request id")).await;
    let outcome = records.iter().find(|record| record["phase"] == "outcome").expect("an outcome");
    outcome.clone()
}

#[tokio::test]
async fn calls_of_all_kinds_pass_with_their_messages_and_metadata() {
    let arena = arena().await;
    let kinds = service(arena, "grpckinds", echo);
    let mut client = client(arena).await;

    // One message each way, with metadata of every kind: a value of bytes, and one of twelve kilobytes.
    let mut request = Request::new(Bytes::from_static(b"one"));
    let large = "x".repeat(12_000);
    request.metadata_mut().insert("x-plain", "a, b".parse().unwrap());
    request.metadata_mut().insert("x-large", large.parse().unwrap());
    request.metadata_mut().insert_bin("x-data-bin", MetadataValue::from_bytes(&[0, 255, 10, 13]));
    let response = client.unary("/grpckinds/Unary", request).await.unwrap();
    assert_eq!(response.metadata().get_bin("x-data-bin").unwrap().to_bytes().unwrap(), [0, 255, 10, 13][..]);
    assert_eq!(text(response.metadata(), "x-plain").as_deref(), Some("a, b"));
    assert_eq!(text(response.metadata(), "x-large"), Some(large));
    assert_eq!(response.get_ref(), "one");

    // Many one way, many the other, and both in turns: each message comes before the next one is sent.
    let many: Vec<Bytes> = (0..100_u8).map(|n| Bytes::from(vec![n; 5_000])).collect();
    let response = client.streaming("/grpckinds/Many", Request::new(stream::iter(many.clone()))).await.unwrap();
    let back: Vec<Bytes> = response.into_inner().map(Result::unwrap).collect().await;
    assert_eq!(back, many);
    take_turns(&mut client, "/grpckinds/Chat").await;

    assert!(kinds.seen().iter().all(|seen| seen["te"] == "trailers" && seen["content-type"] == "application/grpc"), "{:?}", kinds.seen());
    assert!(kinds.seen().iter().all(|seen| !seen.contains_key("grpc-timeout")), "a client that sets no deadline has none");
}

/// A call whose service answers each message with the same: each is back before the next one is sent.
pub(crate) async fn take_turns(client: &mut Client, path: &'static str) {
    let (sender, receiver) = turns();
    let mut answers = client.streaming(path, Request::new(receiver)).await.unwrap().into_inner();
    for turn in 0..20_u8 {
        sender.send(Bytes::from(vec![turn; 10])).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap(), vec![turn; 10]);
    }
    drop(sender);
    assert!(answers.message().await.unwrap().is_none());
}

/// Messages that a test sends when it likes.
fn turns() -> (mpsc::Sender<Bytes>, impl Stream<Item = Bytes> + Send + 'static) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))))
}

/// Errors of a service are its own, with trailers alone or behind messages: code, text and metadata arrive as they left.
#[tokio::test]
async fn errors_of_a_service_pass_as_they_are() {
    let arena = arena().await;
    let mut metadata = MetadataMap::new();
    metadata.insert_bin("x-why-bin", MetadataValue::from_bytes(&[1, 2, 255]));
    let error = Status::with_details_and_metadata(Code::FailedPrecondition, "no: 100 % ä", Bytes::from_static(b"details"), metadata);
    let told = error.clone();
    let _service = service(arena, "grpcbroken", move |asked| match asked.path.as_str() {
        "/grpcbroken/A" => Err(told.clone()),
        _ => Ok(messages([Ok(Bytes::from_static(b"first")), Err(told.clone())])),
    });
    let mut client = client(arena).await;
    let check = |found: &Status| {
        assert_eq!((found.code(), found.message(), found.details()), (error.code(), error.message(), error.details()));
        assert_eq!(found.metadata().get_bin("x-why-bin").unwrap().to_bytes().unwrap(), [1, 2, 255][..]);
        assert!(found.metadata().get("causeway-problem").is_none(), "it is not the gateway's");
    };

    check(&client.unary("/grpcbroken/A", Request::new(Bytes::new())).await.unwrap_err());
    let mut answer = client.streaming("/grpcbroken/B", Request::new(stream::empty())).await.unwrap().into_inner();
    assert_eq!(answer.message().await.unwrap().unwrap(), "first");
    check(&answer.message().await.unwrap_err());
}

#[tokio::test]
async fn refusals_are_answers_of_trailers_alone_and_the_record_has_their_own_status() {
    let arena = arena().await;
    let _limited = service(arena, "grpclimited", echo);
    let mut client = client(arena).await;
    let ok = || Request::new(Bytes::from_static(b"x"));
    let mut refused = async |path: &'static str, request: Request<Bytes>, code: Code, problem: &str, status: u16| {
        let found = client.unary(path, request).await.unwrap_err();
        let metadata = found.metadata();
        assert_eq!((found.code(), text(metadata, "causeway-problem").as_deref()), (code, Some(problem)), "{path}: {found:?}");
        assert!(!found.message().is_empty() && metadata.get("proxy-status").is_some(), "{path}: {found:?}");
        let record = record(arena, metadata).await;
        assert_eq!((record["status"].as_u64(), record["reason"].as_str()), (Some(u64::from(status)), Some(problem)), "{path}: {record}");
        found
    };

    refused("/nowhere/A", ok(), Code::Unimplemented, "route-not-found", 404).await;
    refused("/grpckeyed/A", ok(), Code::Unauthenticated, "credentials-missing", 401).await;
    refused("/absent/A", ok(), Code::Unavailable, "upstream-unreachable", 502).await;
    refused("/grpckinds/a/../b", ok(), Code::InvalidArgument, "path-invalid", 400).await;
    for timeout in ["1", "123456789m", "1s", "-1S"] {
        let mut request = ok();
        request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
        refused("/grpclimited/A", request, Code::InvalidArgument, "request-malformed", 400).await;
    }

    // The limit allows two; the client is told when to come back, in the way of HTTP and in that of gRPC.
    let http = arena.http();
    for _ in 0..2 {
        assert_ne!(http.post(arena.url("/grpclimited/A")).send().await.unwrap().status(), 429);
    }
    let limited = refused("/grpclimited/A", ok(), Code::ResourceExhausted, "quota-exceeded", 429).await;
    let number = |name: &str| text(limited.metadata(), name).unwrap().parse::<u64>().unwrap();
    assert!(number("retry-after") > 0 && number("grpc-retry-pushback-ms") == number("retry-after") * 1_000, "{limited:?}");
    assert!(text(limited.metadata(), "ratelimit").is_some_and(|text| text.contains("\"few\";r=0")), "{limited:?}");
}

/// The form follows the request: what is no call gets a problem document, whatever its media type.
#[tokio::test]
async fn requests_that_are_no_calls_get_problem_documents() {
    let arena = arena().await;
    let over_http1 = arena.http();
    let over_http2 = harness::client::http(arena.ca(), harness::client::Version::Http2).unwrap();
    for (http, method, content_type) in [
        (&over_http1, Method::POST, "application/grpc"),
        (&over_http2, Method::GET, "application/grpc"),
        (&over_http2, Method::POST, "application/grpc-web+proto"),
        (&over_http2, Method::POST, "application/json"),
    ] {
        let answer = http.request(method, arena.url("/nowhere/A")).header("content-type", content_type).body("x").send().await.unwrap();

        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (404, &"application/problem+json".parse().unwrap()),
            "{content_type}"
        );
        assert!(answer.headers().get("grpc-status").is_none());
    }
}

#[tokio::test]
async fn deadline_of_a_call_travels_with_it_and_ends_it() {
    let arena = arena().await;
    let slow = play(arena.listener("grpcslow", 0), |asked| {
        if asked.headers.contains_key("x-stream") {
            // A message, and then nothing.
            let answer = stream::iter([Ok(Bytes::from_static(b"one"))]).chain(stream::pending());
            return std::future::ready(Ok(Response::new(answer.boxed()))).boxed();
        }
        std::future::pending().boxed()
    });
    let mut client = client(arena).await;
    let mut ask = async |timeout: Duration| {
        let mut request = Request::new(Bytes::new());
        request.set_timeout(timeout);
        let began = Instant::now();
        let found = client.unary("/grpcslow/A", request).await.unwrap_err();
        assert_eq!(
            (found.code(), text(found.metadata(), "causeway-problem").as_deref()),
            (Code::DeadlineExceeded, Some("upstream-timeout")),
            "{found:?}"
        );
        assert_eq!(record(arena, found.metadata()).await["status"], 504);
        (began.elapsed(), slow.seen().last().map(|seen| model::grpc::parse_timeout(seen["grpc-timeout"].as_bytes()).unwrap()))
    };

    // The client's time is over first: the service is told what is left of it.
    let (took, told) = ask(Duration::from_millis(300)).await;
    assert!((Duration::from_millis(300)..Duration::from_millis(900)).contains(&took), "{took:?}");
    assert!(told.is_some_and(|told| told <= Duration::from_millis(300) && told > Duration::from_millis(100)), "{told:?}");
    // The route's second is over first.
    let (took, told) = ask(Duration::from_secs(20)).await;
    assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&took), "{took:?}");
    assert!(told.is_some_and(|told| told <= Duration::from_secs(20) && told > Duration::from_secs(18)), "{told:?}");
    let calls = slow.seen().len();
    let (_, told) = ask(Duration::ZERO).await;
    assert_eq!((slow.seen().len(), told.is_some()), (calls, true), "a call without time is not sent");

    // A response that has begun ends at the client's deadline, and past the route's.
    let mut request = Request::new(stream::pending());
    request.set_timeout(Duration::from_millis(1_500));
    request.metadata_mut().insert("x-stream", "1".parse().unwrap());
    let began = Instant::now();
    let mut answer = client.streaming("/grpcslow/B", request).await.unwrap().into_inner();
    assert_eq!(answer.message().await.unwrap().unwrap(), "one");
    let found = answer.message().await.unwrap_err();
    assert_eq!(
        (found.code(), text(found.metadata(), "causeway-problem").as_deref()),
        (Code::DeadlineExceeded, Some("upstream-timeout")),
        "{found:?}"
    );
    assert!((Duration::from_millis(1_500)..Duration::from_secs(4)).contains(&began.elapsed()), "{:?}", began.elapsed());
    wait::until("the service's streams to be reset", SOON, async || slow.open() == 0).await.unwrap();
}

/// A client of gRPC takes a reset for a fault of its library or of the network: trailers say whose it was.
#[tokio::test]
async fn answer_that_breaks_off_ends_with_trailers_that_say_so() {
    let arena = arena().await;
    let service = service(arena, "grpccut", echo);
    let mut client = client(arena).await;

    let response = client.streaming("/grpccut/Break", Request::new(stream::empty())).await.unwrap();
    let id = text(response.metadata(), "x-request-id").unwrap();
    let mut answer = response.into_inner();
    assert_eq!(answer.message().await.unwrap().unwrap(), "x");
    service.cut();
    let found = answer.message().await.unwrap_err();

    assert_eq!((found.code(), found.message()), (Code::Unavailable, "the service broke off its answer"));
    assert_eq!(text(found.metadata(), "causeway-problem").as_deref(), Some("upstream-unreachable"));
    let records = wait::some("the close record", SOON, async || Some(arena.records(&id).await).filter(|records| records.len() == 2)).await.unwrap().0;
    assert!(records.iter().any(|record| record["phase"] == "close" && record["outcome"] == "error"), "{records:?}");
}

#[tokio::test]
async fn calls_are_repeated_after_the_statuses_that_the_route_names_and_no_others() {
    let arena = arena().await;
    // What a path's first calls are answered, when they have come whole: before that there is nothing to repeat.
    let act = |mut asked: Asked| {
        let (code, times) = match asked.path.rsplit('/').next() {
            Some("Twice") => (Code::Unavailable, 2),
            Some("Internal") => (Code::Internal, 1),
            _ => (Code::Unavailable, 1),
        };
        async move {
            if asked.turn >= times {
                return echo(asked);
            }
            while asked.messages.message().await?.is_some() {}
            let mut metadata = MetadataMap::new();
            if asked.path.ends_with("/Pushback") {
                metadata.insert("grpc-retry-pushback-ms", "5000".parse().unwrap());
            }
            Err(Status::with_metadata(code, "as told", metadata))
        }
        .boxed()
    };
    let (repeated, once) = (play(arena.listener("grpcrepeated", 0), act), play(arena.listener("grpconce", 0), act));
    let mut client = client(arena).await;
    let mut ask = async |path: &'static str, bytes: usize| client.unary(path, Request::new(Bytes::from(vec![7; bytes]))).await;

    // Two failures, and the third try brings the whole message.
    assert_eq!(ask("/grpcrepeated/Twice", 60_000).await.unwrap().get_ref(), &vec![7; 60_000]);
    assert_eq!(repeated.calls("/grpcrepeated/Twice"), 3);
    // Another code; a service that says when to come back; a message that is too large to keep; a route that does not ask.
    for (service, path, bytes, code) in [
        (&repeated, "/grpcrepeated/Internal", 10, Code::Internal),
        (&repeated, "/grpcrepeated/Pushback", 10, Code::Unavailable),
        (&repeated, "/grpcrepeated/Large", 70_000, Code::Unavailable),
        (&once, "/grpconce/Plain", 10, Code::Unavailable),
    ] {
        assert_eq!(ask(path, bytes).await.unwrap_err().code(), code, "{path}");
        assert_eq!(service.calls(path), 1, "{path}");
    }
}

/// What 503 is to HTTP, `unavailable` is to gRPC: with trailers alone, and behind messages.
#[tokio::test]
async fn endpoint_whose_calls_end_unavailable_rests() {
    let arena = arena().await;
    for (name, path) in [("grpcoutlier", "/grpcoutlier/A"), ("grpclate", "/grpclate/A")] {
        let bad = service(arena, name, move |_| match name {
            "grpcoutlier" => Err(Status::unavailable("as told")),
            _ => Ok(messages([Ok(Bytes::from_static(b"half")), Err(Status::unavailable("as told"))])),
        });
        let good = play(arena.listener(name, 1), |asked| std::future::ready(echo(asked)).boxed());
        let mut client = client(arena).await;

        for _ in 0..30 {
            drop(client.unary(path, Request::new(Bytes::from_static(b"x"))).await);
        }

        assert_eq!((bad.seen().len(), good.seen().len()), (3, 27), "{name}: three failures in a row, and then none");
        assert_eq!(arena.metric(&format!("causeway_endpoints{{upstream=\"{name}\",state=\"resting\"}}")).await, 1);
    }
}

#[tokio::test]
async fn endpoint_whose_health_service_does_not_say_serving_gets_no_calls() {
    const SERVING: &[u8] = &[8, 1];
    const NOT_SERVING: &[u8] = &[8, 2];
    let arena = arena().await;
    let is_ill = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let services: Vec<Service> = (0..2)
        .map(|index| {
            let is_ill = Arc::clone(&is_ill);
            play(arena.listener("grpcwell", index), move |asked| {
                let is_well = index == 1 || !is_ill.load(std::sync::atomic::Ordering::SeqCst);
                async move {
                    if asked.headers.get("user-agent").is_none_or(|agent| agent != "causeway-health") {
                        return Ok(messages([Ok(Bytes::from(index.to_string()))]));
                    }
                    // The question's only field, by hand: the name of the service.
                    let question = asked.message().await?;
                    assert_eq!(question, &b"\x0a\x0bshop.Orders"[..]);
                    Ok(messages([Ok(Bytes::from_static(if is_well { SERVING } else { NOT_SERVING }))]))
                }
                .boxed()
            })
        })
        .collect();
    let mut client = client(arena).await;
    let mut ask = async || client.unary("/grpcwell/A", Request::new(Bytes::new())).await.map(Response::into_inner);

    wait::until("the check to find out", SOON, async || arena.metric("causeway_endpoints{upstream=\"grpcwell\",state=\"out\"}").await == 1)
        .await
        .unwrap();
    for _ in 0..10 {
        assert_eq!(ask().await.unwrap(), "1");
    }
    let check = &services[0].seen()[0];
    assert_eq!((&check["te"], &check["content-type"]), (&"trailers".parse().unwrap(), &"application/grpc".parse().unwrap()));
    is_ill.store(false, std::sync::atomic::Ordering::SeqCst);

    wait::until("the endpoint to come back", SOON, async || ask().await.unwrap() == "0").await.unwrap();
}

/// A watch is a call on which one side is silent for long: the other side's messages keep it alive.
#[tokio::test]
async fn client_may_be_silent_while_the_service_speaks() {
    let arena = arena().await;
    let (ticked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tick, wait_for) = (Arc::clone(&ticked), Arc::clone(&go));
    // Says something four times within the idle time of 500 ms, and then answers what it is told.
    let _service = play(arena.listener("grpcquiet", 0), move |asked| {
        let (tick, wait_for) = (Arc::clone(&tick), Arc::clone(&wait_for));
        let pulse = tokio::time::interval(Duration::from_millis(300));
        let spoken = stream::unfold(pulse, async |mut pulse| {
            pulse.tick().await;
            Some((Ok(Bytes::from_static(b"tick")), pulse))
        });
        let spoken = spoken.take(4);
        let then = stream::once(async move {
            tick.notify_one();
            wait_for.notified().await;
            Ok(Bytes::from_static(b"go on"))
        });
        std::future::ready(Ok(Response::new(spoken.chain(then).chain(asked.messages).boxed()))).boxed()
    });
    let mut client = client(arena).await;
    let (sender, receiver) = turns();
    let mut answers = client.streaming("/grpcquiet/Watch", Request::new(receiver)).await.unwrap().into_inner();

    for _ in 0..4 {
        assert_eq!(answers.message().await.unwrap().unwrap(), "tick");
    }
    ticked.notified().await;
    go.notify_one();
    assert_eq!(answers.message().await.unwrap().unwrap(), "go on");
    sender.send(Bytes::from_static(b"still here")).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap(), "still here");
}
