//! Responses that last go by their caller's key for as long as they do: server-sent events and calls of gRPC.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use harness::client::Version;
use harness::wait;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tonic::{Code, Request, Response};

use crate::grpc::play::{Client, play};
use crate::site::{Key, SOON, Site, site};

/// From the answer to a revocation to the end of a stream.
const WITHIN: Duration = Duration::from_secs(1);

/// A service that answers each request with a stream of events, or of bytes, that ends with its connection.
pub(crate) fn ticking(listener: TcpListener) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut served = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            served.spawn(async move {
                let mut head = vec![0; 4_096];
                let Ok(length) = stream.read(&mut head).await else { return };
                let is_download = String::from_utf8_lossy(&head[..length]).starts_with("GET /events/download");
                let kind = if is_download { "application/octet-stream" } else { "Text/Event-Stream; charset=utf-8" };
                let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
                drop(stream.write_all(head.as_bytes()).await);
                let mut pulse = interval(Duration::from_millis(50));
                while stream.write_all(b"9\r\ndata: x\n\n\r\n").await.is_ok() {
                    pulse.tick().await;
                }
            });
        }
    });
    task
}

/// A response that streams to a caller.
async fn begun(site: &Site, version: Version, path: &str, key: &Key, id: &str) -> reqwest::Response {
    let request = site.http(version).get(site.url(path)).header("x-api-key", &key.secret).header("x-request-id", id);
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    assert!(answer.chunk().await.unwrap().is_some());
    answer
}

/// Reads until the response breaks off; how long that took. `None` when it goes on for all of that time.
pub(crate) async fn cut(mut answer: reqwest::Response, within: Duration) -> Option<Duration> {
    let began = Instant::now();
    let broken = async {
        loop {
            match answer.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ends as if it were whole"),
                Err(_) => return began.elapsed(),
            }
        }
    };
    tokio::time::timeout(within, broken).await.ok()
}

#[tokio::test]
async fn events_of_a_revoked_key_break_off_within_a_second_and_nobody_elses() {
    let site = site().await;
    let _service = ticking(site.listener("events"));
    for version in [Version::Http1, Version::Http2] {
        let (gone, stays) = (site.key(json!({ "name": "events-gone" })).await, site.key(json!({ "name": "events-stays" })).await);
        let id = format!("events-{version:?}");
        let doomed = begun(site, version, "/events/a", &gone, &id).await;
        let download = begun(site, version, "/events/download", &gone, "events-download").await;
        let other = begun(site, version, "/events/b", &stays, "events-other").await;

        site.control(Method::POST, &format!("/v1/keys/{}/revoke", gone.id), None).await;
        let (took, download, other) = tokio::join!(cut(doomed, SOON), cut(download, WITHIN), cut(other, WITHIN));
        assert!(took.is_some_and(|took| took < WITHIN), "{version:?}: {took:?} from the answer to the revocation to the end");
        assert_eq!((download, other), (None, None), "{version:?}: a download that has begun, and another key's events");
        let records = site.records(&format!("request_id={id}"), 2).await;
        let close = records.iter().find(|record| record["phase"] == "close").unwrap_or_else(|| panic!("{records:?}"));
        assert_eq!((close["outcome"].as_str(), close["reason"].as_str()), (Some("denied"), Some("credentials-invalid")), "{close}");
    }
}

#[tokio::test]
async fn a_call_of_a_revoked_key_ends_with_a_status_that_says_so() {
    let site = site().await;
    let service = play(site.listener("calls"), |_| {
        let messages = stream::once(std::future::ready(Ok(Bytes::from_static(b"first")))).chain(stream::pending());
        std::future::ready(Ok(Response::new(messages.boxed()))).boxed()
    });
    let (gone, stays) = (site.key(json!({ "name": "call-gone" })).await, site.key(json!({ "name": "call-stays" })).await);
    let mut calls = Vec::new();
    for key in [&gone, &stays] {
        let mut client = Client::connect(site.address(), site.ca()).await;
        let mut request = Request::new(stream::pending::<Bytes>());
        request.metadata_mut().insert("x-api-key", key.secret.parse().unwrap());
        let mut messages = client.streaming("/callers/Watch", request).await.unwrap().into_inner();
        assert_eq!(messages.message().await.unwrap().unwrap(), "first");
        calls.push((client, messages));
    }
    assert_eq!(service.open(), 2);

    site.control(Method::POST, &format!("/v1/keys/{}/revoke", gone.id), None).await;
    let began = Instant::now();
    let status = tokio::time::timeout(SOON, calls[0].1.message()).await.expect("it ends").unwrap_err();
    assert!(began.elapsed() < WITHIN, "{:?} from the answer to the revocation to the end", began.elapsed());
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    assert!(status.message().contains("revoked"), "{status:?}");
    wait::until("the end at the service", SOON, async || service.open() == 1).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(500), calls[1].1.message()).await.is_err(), "another key's call goes on");
}
