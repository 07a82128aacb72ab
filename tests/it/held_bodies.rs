//! Bodies that are held to be checked: one budget for all of a node's, and nothing unsigned beside them.

use harness::client::Version;
use harness::wait;

use crate::signatures::place::{Draft, Place};
use crate::site::SOON;
use crate::wire::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Wire, block, frame, request, status};

/// Bytes of each body. Two of them take the whole budget, because room is doubled.
const LARGE: usize = 400_000;

/// A connection on which a signed request was sent, but for the last byte of its body.
async fn unfinished(place: &Place, nonce: usize) -> Wire {
    let body = vec![b'a'; LARGE];
    let draft = Draft::post("/once/x", body.clone()).with(&format!(";nonce=\"held-{nonce}\""));
    let fields: Vec<String> = draft.signed(place.partner(), "127.0.0.1").iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut wire = Wire::connect(place.station.address(), place.station.ca(), "http/1.1", None).await;
    wire.send(format!("POST /once/x HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {LARGE}\r\n{}\r\n", fields.concat())).await;
    wire.send(&body[1..]).await;
    wire
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_checked_share_a_budget() {
    let place = Place::within("failures_per_prefix: 100000, bodies: 1MiB").await;
    let held = async |n: f64| {
        let come = async || place.station.metric("causeway_bodies_held_bytes").await >= n;
        wait::until("bodies that are held", SOON, come).await.unwrap();
    };
    let mut first = unfinished(&place, 1).await;
    held(524_288.0).await;
    let mut second = unfinished(&place, 2).await;
    held(1_048_576.0).await;

    let refused = unfinished(&place, 3).await.answer().await.unwrap();
    assert_eq!((refused.status, refused.code()), (503, "overloaded".to_owned()), "{}", refused.head);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(place.station.metric("causeway_bodies_refused_total").await >= 1.0);
    assert!(place.service.seen().is_empty(), "nothing of them has come to the service");
    let small = place.send(Version::Http2, &Draft::get("/signed/x"), place.partner(), |_| {}).await;
    assert_eq!(small.status(), 200, "who sends no body needs no room");

    first.send(b"a").await;
    assert_eq!(first.answer().await.unwrap().status, 200);
    let mut third = unfinished(&place, 4).await;
    for wire in [&mut second, &mut third] {
        wire.send(b"a").await;
        assert_eq!(wire.answer().await.unwrap().status, 200, "there is room again");
    }
    drop(unfinished(&place, 5).await);
    let given_back = async || place.station.metric("causeway_bodies_held_bytes").await < 1.0;
    wait::until("room that was given back, by a client that went away, too", SOON, given_back).await.unwrap();
    let seen = place.service.seen();
    assert_eq!(seen.iter().filter(|seen| seen.body.len() == LARGE).count(), 3);
    place.stop().await;
}

/// Trailers are content that no signature covers.
#[tokio::test(flavor = "multi_thread")]
async fn trailers_do_not_get_in_beside_a_signature() {
    let place = Place::start().await;
    for (path, said) in [("/http2/x", "0"), ("/http2/y", "3")] {
        let body = if said == "0" { "" } else { "abc" };
        let draft = Draft { method: "POST", ..if body.is_empty() { Draft::get(path) } else { Draft::post(path, body) } };
        let fields = draft.signed(place.partner(), "127.0.0.1");
        let more = [("content-length", said), ("te", "trailers")];
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).chain(more).collect();
        let mut frames = Frames::connect_to(place.station.address(), place.station.ca(), None, &[]).await;
        let content = if body.is_empty() { Vec::new() } else { frame(DATA, 0, 1, body.as_bytes()) };
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x-sum", "unsigned")]));
        frames.send([request(1, "POST", path, &fields, 0), content, trailers].concat()).await;
        let answered = frames.stream(1).await;
        let text: Vec<u8> = answered.iter().filter(|frame| frame.kind == DATA).flat_map(|frame| frame.payload.clone()).collect();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(status(&answered.first().unwrap().payload), 200);
        // Version, method, path, host, bytes of the body, trailers.
        assert_eq!(text.split(' ').take(6).collect::<Vec<_>>()[4..], [said, "0"], "{text}");
    }
    let noted = Draft::get("/signed/x").field("x-note", "one");
    let alike = place.send(Version::Http2, &noted, place.partner(), |sent| sent.set("x_note", "two")).await;
    assert_eq!(crate::tokens::verdict(alike).await, (401, "credentials-invalid".to_owned()), "a covered name with an underscore");
    place.stop().await;
}
