//! Whose request it is: the PROXY protocol, trusted hops, and what is counted by address.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use app::own_gateway::Senders;
use edge::forwarded::{Field, TrustedHops};
use edge::network::Networks;
use harness::wait;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::operation::{Station, dial, once, tls};
use crate::own_gateway;
use crate::site::{SOON, source};
use crate::wire::tcp;

/// A balancer's address here, and one that nobody trusts.
const BALANCER: u8 = 77;
const STRANGER: u8 = 78;

fn edited(text: &str) -> String {
    let more = "proxy_protocol: { from: [ 127.99.77.0/24 ] }, client_address: { field: x-forwarded-for, trusted: [ 203.0.113.0/24, 127.0.0.1 ] }";
    let text = text.replacen("server.key\" }\ncontrol", &format!("server.key\", {more} }}\ncontrol"), 1);
    format!("{text}limits: {{ connections_per_address: 6 }}\n")
}

/// A version 2 header for a client.
fn header(client: [u8; 4]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &client[..], &[10, 0, 0, 1, 0x30, 0x39, 1, 0xbb]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn client_behind_a_balancer_and_a_trusted_hop_is_the_one_that_is_recorded_and_counted() {
    let station = Station::start(|text| edited(&text)).await;
    let node = station.serve().await;
    recorded(&station).await;
    misdirected(&station).await;
    refused(&station).await;
    counted(&station).await;
    assert!(node.process.is_alive());
    station.stop().await;
}

/// Which address a record bears.
async fn recorded(station: &Station) {
    let cases: [(&str, u8, &[u8], &str, &str); 6] = [
        ("direct", STRANGER, b"", "", "127.99.78.1"),
        ("liar", STRANGER, b"", "x-forwarded-for: 1.1.1.1\r\n", "127.99.78.1"),
        ("balanced", BALANCER, &header([198, 51, 100, 9]), "", "198.51.100.9"),
        ("balanced-liar", BALANCER, &header([198, 51, 100, 9]), "x-forwarded-for: 1.1.1.1\r\n", "198.51.100.9"),
        ("hop", BALANCER, &header([203, 0, 113, 5]), "x-forwarded-for: 1.1.1.1, 198.51.100.10\r\nforwarded: for=2.2.2.2\r\n", "198.51.100.10"),
        ("own", BALANCER, b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\x00", "", "127.99.77.1"),
    ];
    let key = station.calls.first_key();
    for (id, net, first, fields, _) in cases {
        let mut stream = dial(station.address(), Some(source(net)), first, "127.0.0.1", tls(station.ca())).await.unwrap();
        let request =
            format!("GET /demo/v1/social/echo HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key}\r\nx-request-id: address-{id}\r\n{fields}\r\n");
        let answer = once(&mut stream, &request).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{id}: {answer}");
    }
    // The control plane of a node that trusts its own machine says who calls; what the caller said is gone.
    let hops = TrustedHops::new(Field::XForwardedFor, Networks::new(["127.0.0.1/32".parse().unwrap()]));
    let request = Request::get("/demo/v1/social/echo").header("host", "127.0.0.1").header("x-api-key", key).header("x-request-id", "address-tried");
    let request = request.header("x-forwarded-for", "1.1.1.1").body("").unwrap();
    let senders = Senders { proxy: None, hops: Some(hops) };
    let called = own_gateway::call(station.address(), own_gateway::own(station.ca().parent().unwrap()), senders, request).await.unwrap();
    assert_eq!(called.response.status(), 200);
    let sql = station.sql();
    for (id, expected) in cases.map(|(id, _, _, _, expected)| (id, expected)).into_iter().chain([("tried", "198.51.100.30")]) {
        let question = format!("select convert_from(event, 'UTF8') from audit_event where request_id = 'address-{id}' and phase = 'outcome'");
        let (rows, _) =
            wait::some("the record", SOON, async || sql.ask("causeway", &question).await.ok().filter(|rows| !rows.is_empty())).await.unwrap();
        let record: serde_json::Value = serde_json::from_str(&rows[0]).unwrap();
        assert_eq!(record["personal"]["data"]["client_address"], expected, "{id}");
    }
}

/// A connection on which somebody says something of gateways ends; a trusted hop's, which carries others' requests, does not.
async fn misdirected(station: &Station) {
    let key = station.calls.first_key();
    let request = |more: &str| format!("GET /demo/v1/social/echo HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key}\r\n{more}\r\n");
    let cases: [(u8, &[u8], &str, bool); 3] = [
        (STRANGER, b"", "", true),
        (BALANCER, &header([198, 51, 100, 40]), "", true),
        (BALANCER, &header([203, 0, 113, 5]), "x-forwarded-for: 198.51.100.41\r\n", false),
    ];
    for (net, first, fields, ends) in cases {
        let mut stream = dial(station.address(), Some(source(net)), first, "127.0.0.1", tls(station.ca())).await.unwrap();
        let answer = once(&mut stream, &request(&format!("{fields}causeway-crossing: served\r\n"))).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 421 ") && answer.contains("connection: close") == ends, "{fields}: {answer}");
        let next = once(&mut stream, &request(fields)).await;
        // The rest of the first answer may stand before it.
        assert_eq!(next.is_ok_and(|answer| answer.contains("HTTP/1.1 200 ")), !ends, "{fields}");
    }
}

/// A header where none is due, none where one is due, another form, an endless one, a slow one.
async fn refused(station: &Station) {
    let before = station.metric("causeway_proxy_headers_refused_total").await;
    let late = async {
        let mut stream = tcp(station.address(), Some(source(BALANCER))).await;
        stream.write_all(b"\r\n\r\n\0").await.unwrap();
        let mut sink = Vec::new();
        timeout(Duration::from_secs(14), stream.read_to_end(&mut sink)).await.expect("a header has the time of a handshake").ok();
        assert_eq!(sink, b"");
    };
    let others = async {
        let cases: [(u8, &[u8]); 4] = [
            (STRANGER, &header([198, 51, 100, 9])),
            (BALANCER, b""),
            (BALANCER, b"PROXY TCP4 198.51.100.9 10.0.0.1 12345 443\r\n"),
            (BALANCER, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"),
        ];
        for (net, first) in cases {
            let refused = dial(station.address(), Some(source(net)), first, "127.0.0.1", tls(station.ca())).await;
            assert!(refused.is_err(), "{}", first.escape_ascii());
        }
    };
    tokio::join!(late, others);
    assert!((station.metric("causeway_proxy_headers_refused_total").await - before - 3.0).abs() < f64::EPSILON, "three balancers were wrong");
}

/// One address holds so many connections and no more, whether it comes by itself or through a balancer; others are served.
async fn counted(station: &Station) {
    let config = tls(station.ca());
    let open = async |net: u8, first: &[u8]| dial(station.address(), Some(source(net)), first, "127.0.0.1", Arc::clone(&config)).await;
    let served = async |stream: &mut _| once(stream, "GET /none HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.is_ok();
    let before = station.metric("causeway_connections_refused_total").await;

    for (net, first) in [(79, Vec::new()), (BALANCER, header([198, 51, 100, 20]))] {
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(open(net, &first).await.unwrap());
        }
        assert!(open(net, &first).await.is_err(), "a seventh connection");
        let other = if net == BALANCER { open(net, &header([198, 51, 100, 21])).await } else { open(80, &first).await };
        assert!(served(&mut other.unwrap()).await, "another address is served");
        drop(held.pop());
        let again = wait::some("the place that was given back", SOON, async || open(net, &first).await.ok()).await;
        assert!(served(&mut again.unwrap().0).await && served(&mut held[0]).await);
    }

    // A flood.
    let mut flood = Vec::new();
    for _ in 0..400 {
        flood.push(tcp(station.address(), Some(IpAddr::from(Ipv4Addr::new(127, 99, 81, 1)))).await);
    }
    let is_open = |stream: &tokio::net::TcpStream| {
        let mut byte = [0_u8; 1];
        matches!(stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    wait::until("an end of the flood", SOON, async || {
        for stream in &flood {
            drop(timeout(Duration::from_millis(1), stream.readable()).await);
        }
        flood.iter().filter(|stream| is_open(stream)).count() <= 6
    })
    .await
    .unwrap();
    assert!(served(&mut open(80, b"").await.unwrap()).await, "others are served meanwhile");
    assert!(station.metric("causeway_connections_refused_total").await - before >= 395.0);
}
