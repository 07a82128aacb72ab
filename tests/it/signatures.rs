//! Signatures over requests (RFC 9421) through a real node: what gets their signer in, and what nobody gets by with.

use std::process::Stdio;

use data_encoding::BASE64URL_NOPAD;
use futures_util::stream;
use harness::client::Version;
use harness::wait;
use reqwest::{Body, Method};
use serde_json::{Value, json};

use crate::site::SOON;
use crate::tokens::{one_more, verdict};

#[cfg(feature = "http3")]
mod over_http3;
pub(crate) mod place;

use place::{Draft, Place, Sent, Signing};

const INVALID: &str = "credentials-invalid";
const MISSING: &str = "credentials-missing";

fn invalid() -> (u16, String) {
    (401, INVALID.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_gets_its_signer_in_and_nothing_else_that_is_made_of_it() {
    let place = Place::start().await;
    taken(&place).await;
    changed(&place).await;
    ruled(&place).await;
    once(&place).await;
    stored(&place).await;
    ways(&place).await;
    counted_for_their_signer(&place).await;
    place.stop().await;
}

async fn taken(place: &Place) {
    for signer in &place.signers {
        let body = format!("by {}", signer.name);
        for version in [Version::Http1, Version::Http2] {
            let answer = place.send(version, &Draft::post("/signed/x?a=1&b", body.clone()), signer, |_| {}).await;
            assert_eq!(answer.status(), 200, "{}", signer.name);
            let seen = place.service.seen().pop().unwrap();
            assert_eq!(seen.body, body.as_bytes());
            assert!(seen.header("signature").is_empty() && seen.header("signature-input").is_empty(), "they were for the gateway: {}", seen.head);
            assert_eq!(seen.header("content-digest").len(), 1, "the digest is the content's");
            assert_eq!(place.send(version, &Draft::get("/signed/x"), signer, |_| {}).await.status(), 200, "{}", signer.name);
        }
    }
    let partner = place.partner();
    let answer = place.send(Version::Http2, &Draft::get("/signed/x"), partner, |_| {}).await;
    let token = place.service.seen().pop().unwrap().header("causeway-principal").concat();
    let claims = BASE64URL_NOPAD.decode(token.split('.').nth(1).unwrap().as_bytes()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(
        [&claims["kind"], &claims["signer"], &claims["sub"], &claims["amr"]],
        [&json!("signature"), &json!("partner"), &json!("default"), &json!(["signature"])]
    );
    let record = place.station.record(&answer).await;
    assert_eq!(
        [&record["principal_kind"], &record["auth_method"], &record["issuer"], &record["application"]],
        ["signature", "signature", "partner", "default"]
    );
    assert!(record["key_id"].is_null(), "{record}");
    let sha512 = Draft { digest: Some("sha-512"), ..Draft::post("/signed/x", "text") };
    assert_eq!(place.judged(&sha512, partner).await.0, 200);
    let wider = place.send(Version::Http1, &Draft::get("/signed/x"), partner, |sent| sent.set("x-more", "not covered")).await;
    assert_eq!(wider.status(), 200, "what is not covered may be there");
    assert!(place.station.metric("causeway_signatures_taken_total").await >= 1.0);
}

/// What is done to a request on its way.
type Change = fn(&mut Sent);

/// Everything that is covered, changed on the way; and bodies that are others.
async fn changed(place: &Place) {
    let partner = place.partner();
    let draft = Draft::post("/signed/x?a=1", "a body").field("x-note", "one");
    let before = place.service.seen().len();
    let changes: [(&str, Change, &str); 9] = [
        ("method", |sent| sent.method = Method::PUT, "signature-invalid"),
        ("path", |sent| sent.target = "/signed/y?a=1".to_owned(), "signature-invalid"),
        ("query", |sent| sent.target = "/signed/x?a=2".to_owned(), "signature-invalid"),
        ("no query", |sent| sent.target = "/signed/x".to_owned(), "signature-invalid"),
        ("field", |sent| sent.set("x-note", "two"), "signature-invalid"),
        ("no field", |sent| sent.fields.retain(|(name, _)| name != "x-note"), "component-missing"),
        ("twice", |sent| sent.fields.push(("x-note".to_owned(), "two".to_owned())), "signature-invalid"),
        ("body", |sent| sent.body = Some("A body".into()), "digest-wrong"),
        ("no body", |sent| sent.body = None, "digest-wrong"),
    ];
    for version in [Version::Http1, Version::Http2] {
        for (what, change, reason) in changes {
            let count = place.refused(reason).await;
            assert_eq!(verdict(place.send(version, &draft, partner, change).await).await, invalid(), "{what}");
            assert_eq!(place.refused(reason).await, one_more(&count), "{what}");
        }
        let added = place.send(version, &Draft::get("/signed/x"), partner, |sent| sent.body = Some("added".into())).await;
        assert_eq!(verdict(added).await, invalid(), "a body that was added");
        for size in [100_000, 4 << 20] {
            let large = Draft::post("/signed/x", vec![b'a'; size]);
            let tampered = move |last: u8, is_chunked: bool| {
                move |sent: &mut Sent| {
                    let mut body = vec![b'a'; size];
                    body[size - 1] = last;
                    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = body.chunks(16 << 10).map(|piece| Ok(piece.to_vec())).collect();
                    sent.body = Some(if is_chunked { Body::wrap_stream(stream::iter(pieces)) } else { body.into() });
                }
            };
            for is_chunked in [true, false] {
                let good = place.send(version, &large, partner, tampered(b'a', is_chunked)).await;
                assert_eq!(verdict(good).await.0, 200, "{size} {is_chunked}");
                assert_eq!(verdict(place.send(version, &large, partner, tampered(b'b', is_chunked)).await).await, invalid(), "{size} {is_chunked}");
            }
        }
    }
    assert_eq!(place.service.seen().len(), before + 8, "nothing but the good ones came to the service");
    assert!(place.service.seen().iter().all(|seen| !seen.body.ends_with(b"b") || seen.body.len() < 100));
    let foreign = Signing::ed25519("partner");
    assert_eq!(place.judged(&Draft::get("/signed/x"), &foreign).await, invalid(), "somebody else's key");
    let host = place.send(Version::Http1, &Draft::get("/signed/x"), partner, |sent| sent.set("host", "localhost")).await;
    assert_ne!(host.status(), 200, "another host");
    let over = Draft::post("/small/x", vec![b'a'; 2_000]);
    assert_eq!(place.judged(&over, partner).await, (413, "body-too-large".to_owned()));
}

/// What a route asks for.
async fn ruled(place: &Place) {
    let partner = place.partner();
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let get = || Draft::get("/signed/x");
    let shop =
        || Draft { parameters: ";tag=\"shop\"".to_owned(), ..Draft::get("/more/x") }.field("content-type", "text/plain").field("x-note", "one");
    for (draft, reason) in [
        (get().aged(65), "date-wrong"),
        (get().aged(-30), "date-wrong"),
        (get().with(&format!(";expires={}", now - 1)), "expired"),
        (get().with(";alg=\"rsa-pss-sha512\""), "algorithm-wrong"),
        (get().with(";tag=\"shop\""), "tag-wrong"),
        (get().with(";x=1"), "parameter-refused"),
        (Draft { parameters: String::new(), ..shop() }, "tag-wrong"),
        (Draft { fields: Vec::new(), ..shop() }, "not-covered"),
        (Draft { digest: None, ..Draft::post("/signed/x", "text") }, "digest-missing"),
        (Draft::get("/once/x"), "nonce-missing"),
    ] {
        let count = place.refused(reason).await;
        assert_eq!(place.judged(&draft, partner).await, invalid(), "{reason} {}", draft.parameters);
        assert_eq!(place.refused(reason).await, one_more(&count), "{}", draft.parameters);
    }
    assert_eq!(place.judged(&get().aged(50).with(";alg=\"ed25519\""), partner).await.0, 200);
    assert_eq!(place.judged(&shop(), partner).await.0, 200);
    assert_eq!(place.judged(&Draft { digest: None, ..Draft::post("/loose/x", "text") }, partner).await.0, 200, "no digest is asked for");
    let tampered = place.send(Version::Http2, &Draft::post("/loose/x", "text"), partner, |sent| sent.body = Some("Text".into())).await;
    assert_eq!(verdict(tampered).await, invalid(), "one that is there is looked at all the same");
    let told = place.send(Version::Http2, &get().aged(65), partner, |_| {}).await;
    assert!(told.headers()["www-authenticate"].to_str().unwrap().contains("Bearer"));
    let detail: Value = serde_json::from_slice(&told.bytes().await.unwrap()).unwrap();
    assert!(
        detail["detail"].as_str().unwrap().contains("covers @method, @authority, @path, @query, content-digest where there is content"),
        "{detail}"
    );
}

async fn once(place: &Place) {
    let partner = place.partner();
    for path in ["/once/x", "/signed/x"] {
        let draft = Draft::get(path).with(&format!(";nonce=\"{path}\""));
        let fields = draft.signed(partner, &place.authority());
        let replayed = || place.send(Version::Http2, &draft, partner, |sent| sent.fields.clone_from(&fields));
        assert_eq!(verdict(replayed().await).await.0, 200);
        let count = place.refused("replayed").await;
        assert_eq!(verdict(replayed().await).await, invalid(), "{path}");
        assert_eq!(place.judged(&draft, partner).await, invalid(), "the nonce in another signature");
        assert_eq!(place.refused("replayed").await.parse::<u64>().unwrap(), count.parse::<u64>().unwrap() + 2);
        assert_eq!(place.judged(&draft, &place.signers[1]).await.0, 200, "another signer's");
    }
    assert_eq!(place.judged(&Draft::get("/once/x").aged(290).with(";nonce=\"old\""), partner).await.0, 200, "five minutes are allowed here");
    let draft = Draft::get("/once/x").with(";nonce=\"many\"");
    let fields = draft.signed(partner, &place.authority());
    let all = (0..20).map(|_| place.send(Version::Http2, &draft, partner, |sent| sent.fields.clone_from(&fields)));
    let statuses: Vec<u16> = futures_util::future::join_all(all).await.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "one of twenty at once: {statuses:?}");
}

/// Whoever is given a stored response has signed for it; what is asked behind it goes by the caller, whose nonce is used.
async fn stored(place: &Place) {
    let replayed = place.refused("replayed").await;
    let fetched = || place.service.seen().iter().filter(|seen| seen.line().contains("/aging")).count();
    for (nonce, status) in [("a-1", "causeway; fwd=uri-miss"), ("a-2", "causeway; hit")] {
        let draft = Draft::get("/aging/x").with(&format!(";nonce=\"{nonce}\""));
        let answer = place.send(Version::Http2, &draft, place.partner(), |_| {}).await;
        assert_eq!(answer.status(), 200);
        let said = answer.headers()["cache-status"].to_str().unwrap().to_owned();
        assert!(said.starts_with(status), "{said}");
    }
    wait::until("the refresh", SOON, async || fetched() == 2).await.unwrap();
    assert_eq!(place.refused("replayed").await, replayed);
    assert_eq!(place.judged(&Draft::get("/aging/x").with(";nonce=\"a-2\""), place.partner()).await, invalid(), "also where it is stored");
    let other = place.send(Version::Http2, &Draft::get("/aging/x").with(";nonce=\"a-3\""), &place.signers[1], |_| {}).await;
    let said = other.headers()["cache-status"].to_str().unwrap();
    assert!(said.starts_with("causeway; fwd=uri-miss"), "another signer of the same consumer: {said}");
    let unsigned = place.send(Version::Http2, &Draft::get("/aging/x"), place.partner(), |sent| sent.fields.clear()).await;
    assert_eq!(unsigned.status(), 401);
}

/// Beside a key, and in its place.
async fn ways(place: &Place) {
    let (partner, key) = (place.partner(), place.station.calls.first_key().to_owned());
    let with_key = |sent: &mut Sent| sent.set("x-api-key", &key);
    let asked = async |path: &str, is_signed: bool, has_key: bool| {
        let change = |sent: &mut Sent| {
            if !is_signed {
                sent.fields.clear();
            }
            if has_key {
                with_key(sent);
            }
        };
        verdict(place.send(Version::Http2, &Draft::get(path), partner, change).await).await
    };
    let missing = (401, MISSING.to_owned());
    for (path, is_signed, has_key, expected) in [
        ("/signed/x", false, false, missing.clone()),
        ("/signed/x", false, true, invalid()),
        ("/signed/x", true, true, invalid()),
        ("/any/x", true, false, (200, String::new())),
        ("/any/x", false, true, (200, String::new())),
        ("/any/x", true, true, invalid()),
        ("/any/x", false, false, missing.clone()),
        ("/all/x", true, true, (200, String::new())),
        ("/all/x", true, false, missing.clone()),
        ("/all/x", false, true, missing),
        ("/plain/x", true, true, (200, String::new())),
    ] {
        assert_eq!(asked(path, is_signed, has_key).await, expected, "{path} {is_signed} {has_key}");
    }
    let seen = place.service.seen().pop().unwrap();
    assert_eq!(seen.header("signature").len(), 1, "where the gateway takes none, it is for the service: {}", seen.head);
    let answer = place.send(Version::Http2, &Draft::get("/all/x"), partner, with_key).await;
    let record = place.station.record(&answer).await;
    assert_eq!([&record["principal_kind"], &record["auth_method"]], ["key", "api_key signature"]);
    let half = place.send(Version::Http2, &Draft::get("/signed/x"), partner, |sent| sent.fields.retain(|(name, _)| name != "signature")).await;
    assert_eq!(verdict(half).await, invalid(), "parameters without a signature");
}

async fn counted_for_their_signer(place: &Place) {
    for signer in &place.signers[..2] {
        for turn in 0..5 {
            let expected = if turn < 3 { 200 } else { 429 };
            assert_eq!(place.judged(&Draft::get("/limited/x"), signer).await.0, expected, "{} {turn}", signer.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_signer_any_more_is_out_wherever_they_are() {
    let place = Place::start().await;
    let partner = place.partner();
    let open = async || {
        let tls = crate::operation::tls(place.station.ca());
        let stream = crate::operation::dial(place.station.address(), None, b"", "127.0.0.1", tls).await.unwrap();
        let nonce = format!(";nonce=\"chat-{}\"", place.chat.served().len());
        let fields = Draft::get("/chat/x").with(&nonce).signed(partner, "127.0.0.1");
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        let mut socket = harness::websocket::open_http1(Box::new(stream), "/chat/x", &fields).await.unwrap().expect("an open WebSocket");
        socket.echo("hello").await.unwrap();
        socket
    };
    over_http2(&place).await;
    let all: Vec<Value> = place.signers.iter().map(|signer| signer.doc("default")).collect();
    let mut socket = open().await;
    assert!(place.chat.served().pop().unwrap().fields.get("signature").is_none());
    place.apply(&json!([all.clone(), vec![Signing::ed25519("another").doc("default")]].concat())).await;
    socket.echo("still here").await.unwrap();

    place.apply(&json!(all[1..])).await;
    assert_eq!(place.judged(&Draft::get("/signed/x"), partner).await, invalid());
    assert_eq!(socket.closed().await.unwrap(), Some(1008), "the WebSocket");

    place.apply(&json!(all)).await;
    let mut socket = open().await;
    let mut other_key = all.clone();
    other_key[0] = Signing::ed25519("partner").doc("default");
    place.apply(&json!(other_key)).await;
    assert_eq!(place.judged(&Draft::get("/signed/x"), partner).await, invalid(), "another key");
    assert_eq!(socket.closed().await.unwrap(), Some(1008), "the WebSocket");

    let with_application = |name: &str| json!([partner.doc(name)]);
    place.apply(&with_application("nobody")).await;
    let count = place.refused("application-unknown").await;
    assert_eq!(place.judged(&Draft::get("/signed/x"), partner).await, invalid(), "no such application");
    assert_eq!(place.refused("application-unknown").await, one_more(&count));
    place.apply(&with_application("stranger")).await;
    assert_eq!(place.judged(&Draft::get("/signed/x"), partner).await, invalid(), "another tenant's");
    place.apply(&with_application("rival")).await;
    let key = place.station.calls.first_key().to_owned();
    let both = place.send(Version::Http2, &Draft::get("/all/x"), partner, |sent| sent.set("x-api-key", &key)).await;
    assert_eq!(verdict(both).await, invalid(), "a key of one consumer with a signature of another");
    assert_eq!(place.judged(&Draft::get("/signed/x"), partner).await.0, 403, "its application lacks the scope");
    assert_eq!(place.judged(&Draft::get("/any/x"), partner).await.0, 200);
    place.stop().await;
}

/// Over HTTP/2 a WebSocket begins with `CONNECT`, and that is what is signed.
async fn over_http2(place: &Place) {
    let tls = crate::wire::tls(place.station.ca(), "h2");
    let stream = crate::operation::dial(place.station.address(), None, b"", "127.0.0.1", tls).await.unwrap();
    let mut session = harness::websocket::Session::start(Box::new(stream)).await.unwrap();
    for (method, is_taken) in [("CONNECT", true), ("GET", false)] {
        let nonce = format!(";nonce=\"chat-{method}\"");
        let fields = Draft { method, ..Draft::get("/chat/x") }.with(&nonce).signed(place.partner(), "127.0.0.1");
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        match session.open("/chat/x", &fields).await.unwrap() {
            Ok(mut socket) => {
                assert!(is_taken, "{method}");
                socket.echo("hello").await.unwrap();
            }
            Err(answer) => assert_eq!((is_taken, answer.status().as_u16()), (false, 401), "{method}"),
        }
    }
}

/// Fields that somebody has damaged: never let in, and never more than a refusal.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_fields_are_refused_and_break_nothing() {
    let place = Place::start().await;
    let partner = place.partner();
    let mut state = 0x9421_u64;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let http = place.station.http(Version::Http2);
    let url = format!("{}/signed/x", place.station.region.data);
    let mut n_sent = 0;
    while n_sent < 1_000 {
        let mut fields = Draft::get("/signed/x").signed(partner, &place.authority());
        let at = next(2);
        let field = &mut fields[at].1;
        // Blanks have many forms, and the last bits of base64 count for nothing: both would be the same signature.
        let place_in = next(field.len() - if at == 1 { 6 } else { 0 });
        let before = field.as_bytes()[place_in];
        let after = b'!' + u8::try_from(next(94)).unwrap();
        if before == b' ' || before == after {
            continue;
        }
        match next(3) {
            0 => drop(field.remove(place_in)),
            1 => field.truncate(place_in),
            _ => field.replace_range(place_in..=place_in, char::from(after).encode_utf8(&mut [0; 4])),
        }
        n_sent += 1;
        let request = fields.iter().fold(http.get(&url), |request, (name, value)| request.header(name, value));
        let status = request.send().await.unwrap().status().as_u16();
        assert!(status == 401 || status == 400, "{status}: {fields:?}");
    }
    let good = Draft::get("/signed/x");
    let long = place.send(Version::Http2, &good, partner, |sent| {
        let input = sent.get("signature-input");
        sent.set("signature-input", &format!("{input}, other=(\"{}\")", "a".repeat(9_000)));
    });
    assert_eq!(verdict(long.await).await, invalid());
    assert_ne!(place.refused("fields-too-long").await, "0");
    let many = place.send(Version::Http2, &good, partner, |sent| {
        let input = sent.get("signature-input");
        sent.set("signature-input", &format!("{input}, a=(), b=(), c=(), d=()"));
    });
    assert_eq!(verdict(many.await).await, invalid());
    let beside = place.send(Version::Http2, &good, partner, |sent| {
        let (input, signature) = (sent.get("signature-input"), sent.get("signature"));
        sent.set("signature-input", &format!("proxy=(\"via\";sf);created=1;keyid=\"proxy\", {input}"));
        sent.set("signature", &format!("proxy=:AQ==:, {signature}"));
    });
    assert_eq!(verdict(beside.await).await.0, 200, "others' signatures stand in nobody's way");
    place.stop().await;
}

/// The script in docs/signatures.md does what it says.
#[expect(clippy::print_stderr, reason = "why it is skipped")]
#[tokio::test(flavor = "multi_thread")]
async fn the_script_of_the_documentation_signs_a_request() {
    let place = Place::start().await;
    let folder = tempfile::tempdir().unwrap();
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/signatures.md")).unwrap();
    let script = docs.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).find(|block| block.contains("pkeyutl")).unwrap();
    let made = std::process::Command::new("openssl").args(["genpkey", "-algorithm", "ed25519", "-out", "partner.key"]).current_dir(&folder).output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("skipped: openssl cannot make a key of Ed25519 here");
        return place.stop().await;
    }
    let pem = std::process::Command::new("openssl").args(["pkey", "-in", "partner.key", "-pubout"]).current_dir(&folder).output().unwrap();
    let pem = String::from_utf8(pem.stdout).unwrap();
    place.apply(&json!([{ "name": "partner", "application": "default", "algorithm": "ed25519", "key": pem }])).await;
    std::fs::write(folder.path().join("sign.sh"), script).unwrap();
    let run = async |url: &str| {
        let done = tokio::process::Command::new("bash")
            .args(["sign.sh"])
            .env("url", url)
            .env("body", "{\"quantity\": 2}")
            .env("CURL_CA_BUNDLE", place.station.ca())
            .current_dir(&folder)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        (String::from_utf8_lossy(&done.stdout).into_owned(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    for target in ["/once/orders?draft=1", "/once/orders"] {
        let said = run(&format!("{}{target}", place.station.region.data)).await;
        assert_eq!(said.0, "served", "{said:?}");
        assert_eq!(place.service.seen().pop().unwrap().body, b"{\"quantity\": 2}");
    }
    wait::until("the count", SOON, async || place.station.metric("causeway_signatures_taken_total").await >= 2.0).await.unwrap();
    place.stop().await;
}
