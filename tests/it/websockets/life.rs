//! What passes through an open WebSocket, and how it ends.

use std::time::Duration;

use harness::client::Version;
use harness::wait;
use harness::websocket::Echo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::{BOTH, ask, code, counted, ends, metric, open};
use crate::site::{SOON, site};
use crate::wire::Wire;

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_every_size_come_back_as_they_went() {
    let _echo = Echo::start(site().await.listener("wstalk"));
    for version in BOTH {
        let mut client = open(site().await, version, "/wstalk/a", &[]).await;
        client.echo("text \u{e9}\u{4e16}").await.unwrap();
        for size in [0, 1, 125, 126, 127, 4_096, 65_535, 65_536, 1 << 20, 9 << 20] {
            let message: Vec<u8> = (0..size).map(|n| u8::try_from((n * 7 + size) % 256).unwrap()).collect();
            client.echo(message).await.unwrap_or_else(|error| panic!("{version:?}, {size} bytes: {error:#}"));
        }
        // A ping is the other end's to answer.
        client.send(Message::Ping(b"are you there"[..].to_vec().into())).await.unwrap();
        client.echo("and still in order").await.unwrap();
        assert_eq!(client.close(1000).await.unwrap(), Some(1000), "the service says goodbye with the same code");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_messages_in_flight_keep_their_order() {
    let _echo = Echo::start(site().await.listener("wsmany"));
    for version in BOTH {
        let mut client = open(site().await, version, "/wsmany/a", &[]).await;
        for round in 0..20 {
            for n in 0..200 {
                client.send(format!("{round} {n}")).await.unwrap();
            }
            for n in 0..200 {
                assert_eq!(client.next().await.unwrap(), Message::text(format!("{round} {n}")), "{version:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_closes_the_other_side_hears_the_code() {
    let site = site().await;
    let echo = Echo::start(site.listener("wsend"));
    for version in BOTH {
        let (by_client, by_service) = (metric(site, &ends("client")).await, metric(site, &ends("service")).await);
        let mut client = open(site, version, "/wsend/a", &[]).await;
        client.echo("hello").await.unwrap();
        client.close(4_001).await.unwrap();
        let ended = async || echo.served().last().unwrap().end;
        let (end, _) = wait::some("the service's end", SOON, ended).await.unwrap();
        assert_eq!(end, Some(4_001), "{version:?}");
        counted(site, "client", by_client).await;

        let mut client = open(site, version, "/wsend/a", &[]).await;
        client.send("!close 4002").await.unwrap();
        assert_eq!(client.closed().await.unwrap(), Some(4_002), "{version:?}");
        counted(site, "service", by_service).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_no_close_is_passed_on_as_what_it_is() {
    let site = site().await;
    let echo = Echo::start(site.listener("wscut"));
    for version in BOTH {
        for command in ["!drop", "!reset"] {
            let mut client = open(site, version, "/wscut/a", &[]).await;
            client.echo("hello").await.unwrap();
            client.send(command).await.unwrap();
            assert_eq!(client.closed().await.unwrap(), None, "{version:?} {command}: no close frame that nobody sent");
        }
        let mut client = open(site, version, "/wscut/a", &[]).await;
        client.echo("hello").await.unwrap();
        let before = metric(site, "causeway_websockets_open").await;
        drop(client);
        let (end, _) = wait::some("the service's end", SOON, async || echo.served().last().unwrap().end).await.unwrap();
        assert_eq!(end, None, "{version:?}");
        wait::until("one less", SOON, async || metric(site, "causeway_websockets_open").await < before + 50).await.unwrap();
    }
}

/// One side may end and still hear what the other has to say.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_connection_goes_on() {
    let site = site().await;
    let listener = site.listener("wshalf");
    let mut wire = Wire::http1(site).await;
    wire.send("GET /wshalf/a HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").await;
    let (mut service, _) = listener.accept().await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        assert!(service.read_buf(&mut seen).await.unwrap() > 0);
    }
    let answer =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    service.write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(wire.answer().await.unwrap().status, 101);

    wire.send(b"\x81\x83\0\0\0\0bye").await;
    wire.finish().await;
    let mut all = Vec::new();
    tokio::time::timeout(SOON, service.read_to_end(&mut all)).await.unwrap().unwrap();
    assert_eq!(all, b"\x81\x83\0\0\0\0bye", "the end comes behind the last byte");
    service.write_all(b"\x81\x05later").await.unwrap();
    drop(service);
    assert_eq!(wire.some(100).await, b"\x81\x05later");
}

/// A client that does not read stops the service, and the gateway holds next to nothing for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_stops_the_service_and_then_gets_everything() {
    const MESSAGES: u32 = 1_024;
    const BYTES: usize = 64 << 10;
    let _alone = crate::site::MEMORY.lock().await;
    let site = site().await;
    let _echo = Echo::start(site.listener("wsslow"));
    for version in BOTH {
        let mut client = open(site, version, "/wsslow/a", &[]).await;
        client.echo("hello").await.unwrap();
        let before = site.memory();
        client.send(format!("!push {MESSAGES} {BYTES}")).await.unwrap();
        // A second one is served beside it, and shows that time has passed for the node.
        let mut other = open(site, version, "/wsslow/b", &[]).await;
        for n in 0..200 {
            other.echo(format!("{n}")).await.unwrap();
        }
        let grown = site.memory().saturating_sub(before);
        assert!(grown < 24 << 20, "{version:?}: {} KiB for {} KiB that nobody reads", grown >> 10, (u64::from(MESSAGES) * BYTES as u64) >> 10);
        for n in 0..MESSAGES {
            let message = client.next().await.unwrap().into_data();
            assert_eq!((message.len(), message[..4].to_vec()), (BYTES, n.to_be_bytes().to_vec()), "{version:?}");
        }
        client.echo("and then").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_has_no_more_than_it_may_and_one_that_ends_makes_room() {
    let site = site().await;
    let _echo = Echo::start(site.listener("wsfull"));
    let mut first = open(site, Version::Http1, "/wsfull/a", &[]).await;
    let mut second = open(site, Version::Http2, "/wsfull/a", &[]).await;
    for version in BOTH {
        let refused = ask(site, version, "/wsfull/a", &[]).await.unwrap_err();
        assert_eq!((refused.status().as_u16(), code(&refused).as_str()), (503, "overloaded"));
        assert!(refused.headers().contains_key("retry-after"));
    }
    first.echo("still").await.unwrap();
    second.echo("here").await.unwrap();
    first.close(1000).await.unwrap();
    let (mut third, _) = wait::some("room", SOON, async || ask(site, Version::Http1, "/wsfull/a", &[]).await.ok()).await.unwrap();
    third.echo("room").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_idle_or_too_old_is_closed_with_1001_on_both_sides() {
    let site = site().await;
    let idle = Echo::start(site.listener("wsidle"));
    let old = Echo::start(site.listener("wsold"));
    for version in BOTH {
        let (before_idle, before_old) = (metric(site, &ends("idle")).await, metric(site, &ends("lifetime")).await);
        let began = Instant::now();
        let mut client = open(site, version, "/wsidle/a", &[]).await;
        client.echo("hello").await.unwrap();
        assert_eq!(client.closed().await.unwrap(), Some(1001), "{version:?}");
        assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&began.elapsed()), "{:?}", began.elapsed());
        let (end, _) = wait::some("the service's end", SOON, async || idle.served().last().unwrap().end).await.unwrap();
        assert_eq!(end, Some(1001), "{version:?}: the service hears it too");
        counted(site, "idle", before_idle).await;

        let began = Instant::now();
        let mut client = open(site, version, "/wsold/a", &[]).await;
        let mut said = 0;
        // One that speaks all the time is not idle.
        let closed = loop {
            if client.echo(format!("{said}")).await.is_err() {
                break began.elapsed();
            }
            said += 1;
        };
        assert!((Duration::from_millis(1_900)..Duration::from_secs(6)).contains(&closed) && said > 1, "{closed:?} after {said}");
        let (end, _) = wait::some("the service's end", SOON, async || old.served().last().unwrap().end).await.unwrap();
        assert_eq!(end, Some(1001), "{version:?}");
        counted(site, "lifetime", before_old).await;
    }
}

/// The record of the handshake is there while the WebSocket is open; that of its end tells what passed.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_has_an_outcome_when_it_opens_and_a_close_when_it_ends() {
    let site = site().await;
    let _echo = Echo::start(site.listener("wsrecord"));
    let key = site.key(json!({ "name": "websocket-record" })).await;
    for (version, protocol, status) in [(Version::Http1, "h1", 101), (Version::Http2, "h2", 200)] {
        let id = format!("websocket-record-{protocol}");
        let fields = [("x-api-key", key.secret.as_str()), ("x-request-id", id.as_str())];
        let mut client = open(site, version, "/wsrecord/a", &fields).await;

        let outcome = site.records(&format!("request_id={id}"), 1).await.remove(0);
        let text = |record: &Value, member: &str| record[member].as_str().unwrap_or_default().to_owned();
        assert_eq!((text(&outcome, "phase"), text(&outcome, "outcome"), text(&outcome, "route")), ("outcome".into(), "ok".into(), "wsrecord".into()));
        assert_eq!((outcome["status"].as_u64(), outcome["upstream_status"].as_u64()), (Some(status), Some(101)), "{outcome}");
        assert_eq!((text(&outcome, "key_id"), text(&outcome, "protocol")), (key.id.clone(), protocol.into()));
        client.echo(vec![7_u8; 1_000]).await.unwrap();
        client.close(1000).await.unwrap();

        let records = site.records(&format!("request_id={id}"), 2).await;
        assert_eq!(records.len(), 2, "{records:?}");
        let close = records.iter().find(|record| record["phase"] == "close").unwrap();
        // Headers of 4 bytes, masks of 4 from the client, and two close frames: 2 + 2 bytes and a reason of 4.
        assert_eq!((close["request_bytes"].as_u64(), close["outcome"].as_str()), (Some(1_008 + 12), Some("ok")), "{close}");
        assert!(close["response_bytes"].as_u64().is_some_and(|bytes| (1_006..1_020).contains(&bytes)), "{close}");
    }
    // Who may not use the route opens nothing, and that is recorded as well.
    let sibling = site.key(json!({ "name": "websocket-sibling", "application": "sibling" })).await;
    let fields = [("x-api-key", sibling.secret.as_str()), ("x-request-id", "websocket-record-no")];
    for version in BOTH {
        let refused = ask(site, version, "/wsrecord/a", &fields).await.unwrap_err();
        assert_eq!((refused.status().as_u16(), code(&refused).as_str()), (403, "scope-insufficient"));
    }
    let records = site.records("request_id=websocket-record-no", 2).await;
    assert!(records.iter().all(|record| record["phase"] == "outcome" && record["outcome"] == "denied"), "{records:?}");
}
