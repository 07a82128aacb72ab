//! Keys that are bound to client certificates: a stolen one is worth nothing without the key of the certificate.

use data_encoding::HEXLOWER;
use harness::client::Version;
use harness::wait;
use rcgen::date_time_ymd;
use reqwest::Method;
use rustls::version::TLS13;
use serde_json::{Value, json};

use crate::client_certificates::place::{Holder, Place};
use crate::operation::once;
use crate::program::causeway_at;
use crate::site::SOON;

const RESTRICTED: (u16, &str) = (403, "key-restricted");

/// The form of `openssl x509 -fingerprint -sha256`.
fn fingerprint(holder: &Holder) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &holder.leaf);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

struct Bound<'p> {
    place: &'p Place,
    id: String,
    secret: String,
}

impl<'p> Bound<'p> {
    /// A key for these holders, made with the command line, once the data plane knows it.
    async fn of(place: &'p Place, name: &str, holders: &[&Holder]) -> Self {
        let prints: Vec<_> = holders.iter().map(|holder| fingerprint(holder)).collect();
        let mut arguments = vec!["keys", "create", name, "--application", "default", "--json"];
        arguments.extend(prints.iter().flat_map(|print| ["--certificate", print.as_str()]));
        let made = causeway_at(place.station.dev.ready(), &arguments).await.expect(0).json();
        let text = |member: &str| made[member].as_str().unwrap().to_owned();
        let key = Self { place, id: text("id"), secret: text("secret") };
        let known = async || key.with(holders[0], Version::Http1).await != (401, "credentials-invalid".to_owned());
        wait::until("the key", SOON, known).await.unwrap();
        key
    }

    async fn with(&self, holder: &Holder, version: Version) -> (u16, String) {
        let answer = self.place.get(holder, version, "/bound/x", &[("x-api-key", &self.secret)]).await;
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default();
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    }

    async fn change(&self, body: &Value) {
        let control = self.place.station.calls.writer().unwrap().control.clone();
        let token = &self.place.station.dev.ready().operator_token;
        let request = self.place.station.http(Version::Http1).request(Method::PATCH, format!("{control}/v1/keys/{}", self.id)).bearer_auth(token);
        assert_eq!(request.json(body).send().await.unwrap().status(), 200, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_bound_to_a_certificate_works_over_its_connections_alone() {
    let place = Place::start().await;
    // Nobody vouches for them: the key names them itself.
    let (owner, thief) = (place.foreign.holder("any.example"), place.ca.holder("web.partner.example"));
    let over = place.foreign.holder_with("over.example", &|params| params.not_after = date_time_ymd(2026, 1, 1));
    let key = Bound::of(&place, "bound", &[&owner, &over]).await;

    for version in [Version::Http1, Version::Http2] {
        assert_eq!(key.with(&owner, version).await.0, 200, "{version:?}");
        assert_eq!(key.with(&thief, version).await, (RESTRICTED.0, RESTRICTED.1.to_owned()), "{version:?}");
        let nobody = place.anonymous_with(version, "/bound/x", &[("x-api-key", &key.secret)]).await;
        assert_eq!(nobody, (RESTRICTED.0, RESTRICTED.1.to_owned()), "{version:?}");
    }
    assert_eq!(key.with(&over, Version::Http1).await.0, 403, "a certificate that has ended proves nothing");
    let free = place.station.calls.first_key().to_owned();
    assert_eq!(place.judged(&thief, "/bound/x", &[("x-api-key", &free)]).await.0, 200, "a key that is bound to nothing");

    handshakes(&place, &key, &owner).await;
    kept(&place, &key, &owner, &thief).await;
    place.stop().await;
}

/// A host whose only such route says so asks; one that does not has nothing to go by.
async fn handshakes(place: &Place, key: &Bound<'_>, owner: &Holder) {
    for (name, host, path, expected) in [
        ("bound.example", "bound.example", "/bound/x", "200"),
        ("plain.example", "bound.example", "/bound/x", "421"),
        ("plain.example", "plain.example", "/unasked/x", "403"),
    ] {
        // A session of its own for each: one that is resumed shows what it showed when it began.
        let (_, config) = Place::watching(owner);
        let mut stream = place.connect(name, &config).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nx-api-key: {}\r\n\r\n", key.secret);
        let answer = once(&mut stream, &request).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(expected), "{name} {host}: {answer}");
    }
}

/// What a key is bound to stays through a roll, ends what is open when it changes, and is shown.
async fn kept(place: &Place, key: &Bound<'_>, owner: &Holder, thief: &Holder) {
    let print = HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &owner.leaf).as_ref());
    let run = async |arguments: &[&str]| causeway_at(place.station.dev.ready(), arguments).await.expect(0);
    let shown = run(&["keys", "show", &key.id]).await;
    assert!(shown.stdout.contains(&print), "{}", shown.stdout);
    let rolled = run(&["keys", "roll", &key.id, "--json"]).await.json();
    assert_eq!(rolled["certificates"][0], json!(print), "{rolled}");
    let new = Bound { place, id: key.id.clone(), secret: rolled["secret"].as_str().unwrap().to_owned() };
    wait::until("the roll", SOON, async || new.with(owner, Version::Http1).await.0 == 200).await.unwrap();
    for key in [key, &new] {
        assert_eq!(key.with(thief, Version::Http1).await, (RESTRICTED.0, RESTRICTED.1.to_owned()));
    }

    let stream = place.connect("127.0.0.1", &place.tls(owner, &[&TLS13])).await;
    let fields = [("x-api-key", new.secret.as_str())];
    let mut socket = harness::websocket::open_http1(Box::new(stream), "/talk/x", &fields).await.unwrap().expect("an open WebSocket");
    socket.echo("hello").await.unwrap();
    new.change(&json!({ "certificates": [fingerprint(thief)] })).await;
    assert_eq!(socket.closed().await.unwrap(), Some(1008), "the WebSocket of a certificate that is not the key's any more");
    wait::until("the change", SOON, async || new.with(thief, Version::Http1).await.0 == 200).await.unwrap();
    assert_eq!(new.with(owner, Version::Http1).await.0, 403);
    new.change(&json!({ "certificates": [] })).await;
    wait::until("the empty list", SOON, async || new.with(thief, Version::Http1).await.0 == 403).await.unwrap();
    run(&["keys", "change", &key.id, "--reset", "certificates"]).await;
    wait::until("the reset", SOON, async || new.with(owner, Version::Http1).await.0 == 200).await.unwrap();
}
