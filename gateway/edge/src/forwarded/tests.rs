use crate::certificate::Shown;
use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Field, TrustedHops};
use crate::{
    network::Networks,
    tls::{Peer, Protocol, TlsFacts},
};

fn hops(field: Field) -> TrustedHops {
    TrustedHops::new(field, Networks::new(["10.0.0.0/8", "2001:db8:1::/48"].map(|range| range.parse().unwrap())))
}

fn client(field: Field, peer: &str, values: &[&str]) -> String {
    let tls = TlsFacts { version: "1.3", cipher: "c", group: "g", server_name: None };
    let peer = Arc::new(Peer::new(peer.parse::<IpAddr>().unwrap(), Protocol::Http1, tls, Shown::NotAsked));
    let name = match field {
        Field::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        Field::Forwarded => HeaderName::from_static("forwarded"),
    };
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(&name, HeaderValue::from_str(value).unwrap());
    }
    hops(field).client(&peer, &headers).address.to_string()
}

#[test]
fn a_hops_certificate_is_nobodys_whatever_the_field_says() {
    let shown = |peer: &str, value: &str| {
        let tls = TlsFacts { version: "1.3", cipher: "c", group: "g", server_name: None };
        let peer = Arc::new(Peer::new(peer.parse::<IpAddr>().unwrap(), Protocol::Http1, tls, Shown::Nothing));
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_str(value).unwrap())]);
        hops(Field::XForwardedFor).client(&peer, &headers).shown.clone()
    };
    for value in ["198.51.100.7", "", "garbage", "10.0.0.1", "10.0.0.1, 10.0.0.5"] {
        assert!(matches!(shown("10.0.0.1", value), Shown::OfHop), "{value}");
        assert!(matches!(shown("198.51.100.7", value), Shown::Nothing), "{value}");
    }
}

#[test]
fn field_that_is_told_names_the_client_alone() {
    for field in [Field::XForwardedFor, Field::Forwarded] {
        let name = hops(field).name();
        for (told, expected) in [
            ("198.51.100.7", "198.51.100.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("10.0.0.9", "10.0.0.9"),
            ("2001:db8:1::9", "2001:db8:1::9"),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(&name, HeaderValue::from_static("1.1.1.1"));
            headers.append(&name, HeaderValue::from_static("for=2.2.2.2"));

            hops(field).tell(told.parse().unwrap(), &mut headers);

            let values: Vec<&str> = headers.get_all(&name).iter().map(|value| value.to_str().unwrap()).collect();
            assert_eq!(values.len(), 1, "{values:?}");
            assert_eq!(client(field, "10.0.0.1", &values), expected, "{values:?}");
        }
    }
}

#[test]
fn client_is_the_first_address_from_the_right_that_is_no_trusted_hop() {
    let cases: [(&str, &[&str], &str); 16] = [
        ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
        // What the client wrote itself stands left of what the hop appended.
        ("10.0.0.1", &["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", &["1.1.1.1", "2.2.2.2, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", &["198.51.100.7, 10.1.2.3, 10.9.9.9"], "198.51.100.7"),
        ("10.0.0.1", &["198.51.100.7", "10.1.2.3", "2001:db8:1::9"], "198.51.100.7"),
        // Whoever is no trusted hop is the client, whatever it says.
        ("198.51.100.7", &["1.1.1.1"], "198.51.100.7"),
        ("198.51.100.7", &["10.0.0.1"], "198.51.100.7"),
        // Every hop trusted: the farthest one.
        ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &[" , ,198.51.100.7,, "], "198.51.100.7"),
        // Ports and brackets.
        ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
        ("2001:db8:1::1", &["::ffff:198.51.100.7"], "198.51.100.7"),
        // What cannot be read ends it.
        ("10.0.0.1", &["198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", &["198.51.100.7, garbage, 10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", &["198.51.100.7:99999999"], "10.0.0.1"),
    ];
    for (peer, values, expected) in cases {
        assert_eq!(client(Field::XForwardedFor, peer, values), expected, "{peer} {values:?}");
    }
}

#[test]
fn forwarded_is_read_as_rfc_7239_writes_it() {
    let cases: [(&[&str], &str); 12] = [
        (&["for=198.51.100.7"], "198.51.100.7"),
        (&["For=\"[2001:db8::7]:4711\";proto=http;by=10.0.0.1"], "2001:db8::7"),
        (&["for=1.1.1.1, for=198.51.100.7;host=\"a,b\""], "198.51.100.7"),
        (&["for=198.51.100.7, for=10.4.4.4;by=\"10.0.0.1, for=9.9.9.9\""], "198.51.100.7"),
        (&["proto=https;for=\"198.51.100.7:80\""], "198.51.100.7"),
        (&["for=198.51.100.7", "for=10.4.4.4"], "198.51.100.7"),
        (&["for=198.51.100.7, for=unknown"], "10.0.0.1"),
        (&["for=198.51.100.7, for=_hidden"], "10.0.0.1"),
        (&["for=198.51.100.7, proto=https"], "10.0.0.1"),
        (&["for=198.51.100.7;for=1.1.1.1"], "10.0.0.1"),
        (&["for=\"198.51.100.7"], "10.0.0.1"),
        (&["198.51.100.7"], "10.0.0.1"),
    ];
    for (values, expected) in cases {
        assert_eq!(client(Field::Forwarded, "10.0.0.1", values), expected, "{values:?}");
    }
    // The other field is the client's own.
    assert_eq!(client(Field::Forwarded, "10.0.0.1", &[]), "10.0.0.1");
}

#[test]
fn endless_chain_of_trusted_hops_is_not_walked_to_its_end() {
    let chain = vec!["10.0.0.2"; 10_000].join(",");

    assert_eq!(client(Field::XForwardedFor, "10.0.0.1", &[&format!("198.51.100.7,{chain}")]), "10.0.0.2");
}
