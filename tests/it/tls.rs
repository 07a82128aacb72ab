//! The port speaks TLS and nothing else; floods end their own connection and cost the others nothing.
#![expect(clippy::print_stdout, reason = "figures that a reader of the test log wants to see")]

use std::sync::Arc;
use std::time::Duration;

use harness::client::Version;
use harness::wait;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::service::ok;
use crate::site::{MEMORY, SOON, Site, site, source};
use crate::wire::{self, CONTINUATION, END_STREAM, Frames, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, block, frame, request, tcp};

/// What the data port answers to bytes that are no TLS.
async fn answer_to(site: &Site, bytes: &[u8]) -> Vec<u8> {
    let mut stream = tcp(site.address(), Some(source(10))).await;
    drop(stream.write_all(bytes).await);
    let mut answer = Vec::new();
    timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the connection ends").ok();
    answer
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told_so() {
    let site = site().await;

    for text in [
        "GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = String::from_utf8(answer_to(site, text.as_bytes()).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("tls-required") && answer.contains("https://"), "{answer:?}");
    }
}

#[tokio::test]
async fn garbage_on_the_tls_port_ends_its_connection_alone() {
    let site = site().await;
    let _service = site.service("floods", |_| ok("served"));

    for bytes in [
        &[0_u8; 64][..],
        &[0x16, 3, 1, 0xff, 0xff],
        &[0x16; 512],
        &[0x80, 0x2e, 1, 0, 2],
        b"\x15\x03\x01\x00\x02\x02\x28",
        &[0xff; 4096],
        b"ssh-2.0-x\r\n",
    ] {
        let mut stream = tcp(site.address(), Some(source(10))).await;
        drop(stream.write_all(bytes).await);
        stream.shutdown().await.ok();
        let mut answer = Vec::new();
        timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the connection ends").ok();
        assert!(answer.len() < 64, "{}", answer.escape_ascii());
    }

    floods(site).await;
    assert_eq!(site.http(Version::Http1).get(site.url("/floods")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn only_tls_1_2_and_1_3_with_our_protocols_are_spoken() {
    let site = site().await;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connect = async |config: Arc<rustls::ClientConfig>| {
        let tcp = tcp(site.address(), Some(source(11))).await;
        timeout(SOON, TlsConnector::from(config).connect(name.clone(), tcp)).await.unwrap()
    };

    for alpn in ["h2", "http/1.1"] {
        let stream = connect(wire::tls(site.ca(), alpn)).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.alpn_protocol(), Some(alpn.as_bytes()));
        assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        assert_eq!(session.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name), Some(rustls::NamedGroup::X25519MLKEM768));
    }
    assert!(connect(wire::tls(site.ca(), "spdy/3")).await.is_err(), "an unknown protocol");
    let strangers = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    assert!(connect(Arc::new(strangers)).await.is_err(), "a client that does not trust the CA");

    // A TLS 1.0 ClientHello: the version in the record and in the hello, two suites, no extensions.
    let hello = [&[0x16, 3, 1, 0, 47, 1, 0, 0, 43, 3, 1][..], &[7; 32], &[0, 0, 4, 0, 0x2f, 0, 0x35, 1, 0]].concat();
    let alert = answer_to(site, &hello).await;
    assert_eq!(alert.first(), Some(&0x15), "an alert: {}", alert.escape_ascii());
}

/// Each flood is bounded here; each must end its connection, or be answered within the limits, while others are served.
async fn floods(site: &Site) {
    let _alone = MEMORY.lock().await;
    let before = site.memory();
    let connect = async |net: u8| Frames::connect(site, Some(source(net)), &[]).await;
    let is_over = async |frames: &mut Frames| {
        let ended = async {
            while let Some(frame) = frames.next().await {
                if frame.kind == GOAWAY {
                    return;
                }
            }
        };
        timeout(SOON, ended).await.is_ok()
    };

    // CONTINUATION without an end (CVE-2024-27316).
    let mut frames = connect(12).await;
    let pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", "127.0.0.1"), (":path", "/floods")];
    frames.send(frame(HEADERS, END_STREAM, 1, &block(&pseudo))).await;
    let field = block(&[("x-flood", &"a".repeat(16_000))]);
    for _ in 0..2_000 {
        if !frames.send(frame(CONTINUATION, 0, 1, &field)).await {
            break;
        }
    }
    assert!(is_over(&mut frames).await, "CONTINUATION frames without end");

    // Rapid reset (CVE-2023-44487).
    let mut frames = connect(13).await;
    for n in 0..20_000_u32 {
        let id = n * 2 + 1;
        if !frames.send([request(id, "GET", "/floods", &[], END_STREAM), frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())].concat()).await {
            break;
        }
    }
    assert!(is_over(&mut frames).await, "streams that are reset at once");

    // A header list of 1 MiB in indexed fields that grow (HPACK bomb) is refused, its connection may live.
    let mut frames = connect(14).await;
    let large = block(&[("x-bomb", &"a".repeat(4_000))]);
    let bomb = [&block(&pseudo)[..], &[0x40], &large[1..], &[0xbe; 4_000]].concat();
    frames.send(frame(HEADERS, wire::END_HEADERS | END_STREAM, 1, &bomb)).await;
    let answer = frames.stream(1).await;
    let refused =
        answer.iter().any(|frame| frame.kind == GOAWAY || frame.kind == RST_STREAM || frame.kind == HEADERS && wire::status(&frame.payload) == 431);
    assert!(refused, "an HPACK bomb: {answer:?}");

    // Pings and settings that are never read: what they cause must not pile up.
    for bytes in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])] {
        let before = site.memory();
        let mut frames = connect(15).await;
        let many = bytes.repeat(1_000);
        let flood = async {
            for _ in 0..500 {
                if !frames.send(&many).await {
                    break;
                }
            }
        };
        // Back-pressure is as good an answer as an end.
        drop(timeout(Duration::from_secs(2), flood).await);
        let grown = site.memory().saturating_sub(before);
        println!("flood frame_type={} grown_kib={}", bytes[3], grown >> 10);
        assert!(grown < 64 << 20, "the node grew by {} KiB", grown >> 10);
    }

    println!("floods grown_kib={}", site.memory().saturating_sub(before) >> 10);
    let http = site.http(Version::Http2);
    wait::until("service for others", SOON, async || http.get(site.url("/floods")).send().await.is_ok_and(|answer| answer.status() == 200))
        .await
        .unwrap();
}
