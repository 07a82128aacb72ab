//! Client certificates through a real node: who is let in with them, when that ends, and whose tokens they are.

pub(crate) mod place;

use harness::client::Version;
use harness::issuer::{Issuer, Signer};
use harness::wait;
use rcgen::{ExtendedKeyUsagePurpose, SerialNumber, date_time_ymd};
use rustls::HandshakeKind;
use serde_json::{Value, json};

use self::place::{Ca, Holder, Place, crl};
use crate::operation::once;
use crate::site::SOON;

const INVALID: &str = "credentials-invalid";

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_taken_from_whom_the_authority_vouches_for_and_from_nobody_else() {
    let place = Place::start().await;
    taken(&place).await;
    refused(&place).await;
    ways(&place).await;
    limits_and_responses_are_each_ones_own(&place).await;
    place.stop().await;
}

async fn taken(place: &Place) {
    let holder = place.ca.holder("web.partner.example");
    for version in [Version::Http1, Version::Http2] {
        let answer = place.get(&holder, version, "/cert/x", &[("client-cert", ":AAAA:"), ("client_cert", ":AAAA:")]).await;
        assert_eq!(answer.status(), 200, "{version:?}");
        let seen = place.service.seen().pop().unwrap();
        assert_eq!(seen.header("client-cert"), [format!(":{}:", data_encoding::BASE64.encode(&holder.leaf))], "RFC 9440, and not the client's own");
        assert!(seen.header("client_cert").is_empty() && seen.header("client-cert-chain").is_empty());
        assert_eq!([seen.header("x-who"), seen.header("x-app")], [["dns:web.partner.example"], ["default"]]);
        let record = place.station.record(&answer).await;
        assert_eq!(
            [
                &record["principal_kind"],
                &record["auth_method"],
                &record["issuer"],
                &record["application"],
                &record["certificate"],
                &record["personal"]["data"]["subject"]
            ],
            ["certificate", "mtls", "partners", "default", holder.thumbprint.as_str(), "dns:web.partner.example"],
            "{record}"
        );
        assert!(record["key_id"].is_null());
    }
    let open = place.get(&holder, Version::Http2, "/open/x", &[("client-cert", ":AAAA:")]).await;
    assert_eq!(open.status(), 200);
    assert!(place.service.seen().pop().unwrap().header("client-cert").is_empty(), "where nobody asks, nobody says");
    let below = place.middle.holder("web.partner.example");
    assert_eq!(place.get(&below, Version::Http2, "/cert/x", &[]).await.status(), 200, "with an authority between");
    let older = place.raw(&holder, "127.0.0.1", &[&rustls::version::TLS12]).await.request("/cert/x").await;
    assert!(older.starts_with("HTTP/1.1 200"), "{older}");
}

async fn refused(place: &Place) {
    let nobody = place.anonymous(Version::Http2, "/cert/x").await;
    assert_eq!(nobody, (401, "credentials-missing".to_owned()));
    let of = |ca: &Ca, change: &dyn Fn(&mut rcgen::CertificateParams)| ca.holder_with("web.partner.example", change);
    for (holder, reason) in [
        (place.foreign.holder("web.partner.example"), "issuer-unknown"),
        (of(&place.ca, &|params| params.not_after = date_time_ymd(2026, 1, 1)), "dates"),
        (of(&place.ca, &|params| params.not_before = date_time_ymd(2125, 1, 1)), "dates"),
        (of(&place.ca, &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]), "usage"),
        (of(&place.ca, &|params| params.serial_number = Some(SerialNumber::from(66_u64))), "revoked"),
        (place.ca.holder_with("stranger.partner.example", &|_| {}), "stranger"),
        (place.ca.holder_with("nobody.partner.example", &|_| {}), "stranger"),
        (place.middle.holder_with("web.partner.example", &|params| params.serial_number = Some(SerialNumber::from(67_u64))), "revoked"),
        (place.middle.holder("web.partner.example").alone(), "issuer-unknown"),
    ] {
        let before = place.refusals(reason).await;
        let got = place.judged(&holder, "/cert/x", &[]).await;
        let expected = (401, INVALID.to_owned());
        assert_eq!(got, expected, "{reason}");
        assert!(place.refusals(reason).await > before, "{reason}");
        assert_eq!(place.judged(&holder, "/open/x", &[]).await.0, 200, "where nobody asks, it does not matter: {reason}");
    }
    let other = place.ca.holder("tenant.partner.example");
    assert_eq!(place.judged(&other, "/cert/x", &[]).await, (401, INVALID.to_owned()), "an application of another tenant");
    let unreadable = place.ca.holder_with("web.partner.example", &|params| {
        params.subject_alt_names = (0..65).map(|n| rcgen::SanType::DnsName(format!("h{n}.example").try_into().unwrap())).collect();
    });
    assert_eq!(place.judged(&unreadable, "/cert/x", &[]).await, (401, INVALID.to_owned()));
}

async fn ways(place: &Place) {
    let key = place.station.calls.first_key().to_owned();
    let (web, rival, foreign) =
        (place.ca.holder("web.partner.example"), place.ca.holder("rival.partner.example"), place.foreign.holder("web.partner.example"));
    let with_key = [("x-api-key", key.as_str())];
    for (holder, path, fields, expected) in [
        (Some(&web), "/either/x", &[][..], (200, "")),
        (Some(&web), "/either/x", &with_key, (200, "")),
        (Some(&foreign), "/either/x", &with_key, (200, "")),
        (Some(&foreign), "/either/x", &[], (401, INVALID)),
        (None, "/either/x", &with_key, (200, "")),
        (None, "/either/x", &[], (401, "credentials-missing")),
        (Some(&web), "/both/x", &with_key, (200, "")),
        (Some(&web), "/both/x", &[], (401, "credentials-missing")),
        (Some(&rival), "/both/x", &with_key, (401, INVALID)),
        (Some(&foreign), "/both/x", &with_key, (401, INVALID)),
        (None, "/both/x", &with_key, (401, "credentials-missing")),
        (Some(&web), "/cert/x", &with_key, (401, INVALID)),
    ] {
        let got = match holder {
            Some(holder) => place.judged(holder, path, fields).await,
            None => place.anonymous_with(Version::Http2, path, fields).await,
        };
        assert_eq!((got.0, got.1.as_str()), expected, "{path} {} certificate={}", fields.len(), holder.is_some());
    }
    let both = place.get(&web, Version::Http2, "/both/x", &with_key).await;
    let record = place.station.record(&both).await;
    assert_eq!([&record["principal_kind"], &record["auth_method"]], ["key", "api_key mtls"]);
}

async fn limits_and_responses_are_each_ones_own(place: &Place) {
    let (web, app) = (place.ca.holder("web.partner.example"), place.ca.holder("app.partner.example"));
    for _ in 0..3 {
        assert_eq!(place.judged(&web, "/limited/x", &[]).await.0, 200);
    }
    assert_eq!(place.judged(&web, "/limited/x", &[]).await, (429, "quota-exceeded".to_owned()));
    let renewed = place.ca.holder("web.partner.example");
    assert_eq!(place.judged(&renewed, "/limited/x", &[]).await.0, 429, "a new certificate for the same name is no new budget");
    assert_eq!(place.judged(&app, "/limited/x", &[]).await.0, 200, "another name has its own");
    let is_hit = async |holder: &Holder| {
        let answer = place.get(holder, Version::Http2, "/cached/x", &[]).await;
        answer.headers()["cache-status"].to_str().unwrap().contains("hit")
    };
    for holder in [&web, &app, &renewed] {
        assert!(!is_hit(holder).await, "another one's response");
        assert!(is_hit(holder).await);
    }
}

/// An open connection, a resumed session and a WebSocket are worth no more than the list of today.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_ends_what_open_connections_and_resumed_sessions_are_worth() {
    let place = Place::start().await;
    let holder = place.ca.holder_with("web.partner.example", &|params| params.serial_number = Some(SerialNumber::from(77_u64)));
    let client = place.client(&holder, Version::Http2);
    let over = async || place.verdict_of(&client, "/cert/x").await;
    assert_eq!(over().await.0, 200);
    let config = place.tls(&holder, &[&rustls::version::TLS13]);
    let resumed = async || {
        let mut stream = place.connect("127.0.0.1", &config).await;
        let answer = once(&mut stream, "GET /cert/x HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.unwrap();
        (stream.get_ref().1.handshake_kind(), answer.split(' ').nth(1).unwrap_or_default().to_owned())
    };
    assert_eq!(resumed().await, (Some(HandshakeKind::Full), "200".to_owned()));
    assert_eq!(resumed().await, (Some(HandshakeKind::Resumed), "200".to_owned()));
    let stream = place.connect("127.0.0.1", &config).await;
    let mut socket = harness::websocket::open_http1(Box::new(stream), "/chat/x", &[]).await.unwrap().expect("an open WebSocket");
    socket.echo("hello").await.unwrap();

    let crls = [crl(&place.ca, 2100, &[66, 77]), crl(&place.middle, 2100, &[67])].concat();
    place.apply(&json!({ "crls": crls })).await;
    assert_eq!(over().await, (401, INVALID.to_owned()), "over the connection that was open");
    assert_eq!(resumed().await, (Some(HandshakeKind::Resumed), "401".to_owned()), "in a session that began before");
    assert_eq!(socket.closed().await.unwrap(), Some(1008), "the WebSocket");
    assert_eq!(place.judged(&place.ca.holder("web.partner.example"), "/cert/x", &[]).await.0, 200, "one that is not in the list");

    place.apply(&json!({ "crls": crl(&place.ca, 2026, &[]) })).await;
    let told = place.judged(&place.ca.holder("web.partner.example"), "/cert/x", &[]).await;
    assert_eq!(told, (503, "revocation-unknown".to_owned()), "nobody knows what an old list lacks, and it is not the client's fault");
    let checks = place.station.calls.control(&place.station.region, "/readyz?verbose").await.unwrap().body;
    assert!(checks.contains("a revocation list of `partners` is over, and the certificates of its issuer are refused"), "{checks}");
    place.apply(&json!({ "crls": crl(&place.ca, 2026, &[77]), "expired_crls": "allow" })).await;
    assert_eq!(place.judged(&place.ca.holder("web.partner.example"), "/cert/x", &[]).await.0, 200);
    assert_eq!(over().await.0, 401, "what stands in it is revoked all the same");
    place.apply(&json!({ "ca": place.foreign.pem(), "crls": null })).await;
    assert_eq!(place.judged(&place.ca.holder("web.partner.example"), "/cert/x", &[]).await.0, 401, "the authority has changed");
    assert_eq!(place.judged(&place.foreign.holder("web.partner.example"), "/cert/x", &[]).await.0, 200);
    place.stop().await;
}

/// Only clients that come for a host with such a route are asked, and who was not asked is told to come again.
#[tokio::test(flavor = "multi_thread")]
async fn only_clients_of_hosts_that_need_a_certificate_are_asked() {
    let place = Place::start().await;
    let holder = place.ca.holder("web.partner.example");
    let (asked, config) = Place::watching(&holder);
    let mut elsewhere = place.connect("plain.example", &config).await;
    let answer = once(&mut elsewhere, "GET /keyless/x HTTP/1.1\r\nhost: plain.example\r\n\r\n").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(asked.times(), 0, "a browser would ask its user");
    let misdirected = once(&mut elsewhere, "GET /cert/x HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.unwrap();
    assert!(misdirected.starts_with("HTTP/1.1 421") && misdirected.contains("connection: close"), "{misdirected}");
    // The client offers the session that began there: opened under it, a connection would have nothing to show.
    for (times, (name, host, path)) in
        [("localhost", "localhost", "/named/x"), ("LOCALHOST", "localhost", "/named/x"), ("127.0.0.1", "127.0.0.1", "/cert/x")]
            .into_iter()
            .enumerate()
    {
        let mut here = place.connect(name, &config).await;
        let answer = once(&mut here, &format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
        let is_asked = here.get_ref().1.handshake_kind() == Some(HandshakeKind::Full);
        assert!(times > 0 || is_asked, "a session of a host that does not ask is resumed where clients are asked");
    }
    assert!(asked.times() >= 1);
    place.apply(&json!({ "forward": false })).await;
    assert_eq!(place.get(&holder, Version::Http2, "/cert/x", &[]).await.status(), 200);
    assert!(place.service.seen().pop().unwrap().header("client-cert").is_empty(), "where services are not to get it");
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_bound_to_a_certificate_is_worth_nothing_without_its_key() {
    let place = Place::start().await;
    let signer = Signer::p256("first").unwrap();
    let folder = place.station.ca().parent().unwrap();
    let issuer = Issuer::start(&folder.join("server.pem"), &folder.join("server.key"), &[&signer]).await.unwrap();
    let (owner, thief) = (place.foreign.holder("any.example"), place.ca.holder("web.partner.example"));
    let token = |cnf: Value| {
        let mut claims = issuer.claims();
        claims["cnf"] = cnf;
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        signer.token(&claims).unwrap()
    };
    let bound = token(json!({ "x5t#S256": owner.thumbprint }));
    let other = token(json!({ "x5t#S256": owner.thumbprint, "jkt": "A".repeat(43) }));
    let judged = async |holder: Option<&Holder>, token: &str| {
        let bearer = format!("Bearer {token}");
        let fields = [("authorization", bearer.as_str())];
        match holder {
            Some(holder) => place.judged(holder, "/token/x", &fields).await.0,
            None => place.anonymous_with(Version::Http2, "/token/x", &fields).await.0,
        }
    };
    for (mode, expected) in [
        // Bound with its owner, with a thief, without any certificate; not bound; bound to a key as well.
        ("accept", [200, 401, 401, 200, 401]),
        ("require", [200, 401, 401, 401, 401]),
        ("refuse", [401, 401, 401, 200, 401]),
    ] {
        place.apply_with_issuer(&issuer, mode).await;
        let free = token(Value::Null);
        // The first fetch of the key set may still be under way.
        wait::until("the key set", SOON, async || judged(Some(&owner), &bound).await == expected[0]).await.unwrap();
        let got = [
            judged(Some(&owner), &bound).await,
            judged(Some(&thief), &bound).await,
            judged(None, &bound).await,
            judged(Some(&owner), &free).await,
            judged(Some(&owner), &other).await,
        ];
        assert_eq!(got, expected, "{mode}");
    }
    let counted = place.station.metric("causeway_tokens_refused_total{reason=\"token-of-another\"}").await;
    assert!(counted >= 2.0, "{counted}");
    place.stop().await;
}
