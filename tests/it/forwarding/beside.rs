//! Slow clients and quick ones on one crossing: nobody waits for another one.

use std::time::Duration;

use futures_util::StreamExt;
use harness::client::Version;
use harness::wait;
use reqwest::{Client, Response, StatusCode};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::cut_off::Upload;
use super::place::{Other, Place, WITHIN};
use super::stage::{Body, LARGE, Stage};

/// So many quick requests at once, over connections of both kinds.
const QUICK: usize = 40;
/// Nothing moves for so long: it stands still.
const STILL: Duration = Duration::from_millis(300);

/// Clients with connections of their own: a node's cores have their own ways to the other gateway, and each must be met.
fn clients(place: &Place) -> Vec<Client> {
    let versions = [Version::Http1, Version::Http2].into_iter().cycle();
    versions.take(8).map(|version| place.http(version)).collect()
}

/// Many requests at once are answered.
async fn quick_ones_are_answered(place: &Place, clients: &[Client], when: &str) {
    let url = format!("{}/stage/quick", place.region("us-east").data);
    let mut tasks = JoinSet::new();
    for number in 0..QUICK {
        tasks.spawn(clients[number % clients.len()].post(&url).body("12345").timeout(WITHIN / 2).send());
    }
    for answer in tasks.join_all().await {
        let answer = answer.unwrap_or_else(|error| panic!("{when}: {error:?}"));
        assert_eq!((answer.status(), answer.text().await.unwrap().as_str()), (StatusCode::OK, "5 bytes"), "{when}");
    }
}

/// Waits until the service cannot send any more.
async fn stands_still(stage: &Stage) -> u64 {
    let (mut last, mut since) = (0, Instant::now());
    let still = async || {
        let now = stage.sent();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        last > 0 && since.elapsed() > STILL
    };
    wait::until("an answer that stands still", WITHIN, still).await.unwrap();
    stage.sent()
}

/// Begins to take large answers, each over a connection of its own, and reads no more of them.
async fn unread(place: &Place, version: Version, number: usize) -> Vec<Response> {
    let mut answers = Vec::new();
    for _ in 0..number {
        let request = place.http(version).get(format!("{}/stage/large", place.region("us-east").data));
        let answer = request.timeout(WITHIN * 3).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answers.push(answer);
    }
    answers
}

async fn slow_readers(number: usize) {
    let stage = Stage::start();
    let place = Place::start_with(&[Other { name: "stage", address: stage.address, protocol: "http1" }]).await;
    let clients = clients(&place);
    quick_ones_are_answered(&place, &clients, "before").await;
    for version in [Version::Http1, Version::Http2] {
        let (before, answers) = (stage.sent(), unread(&place, version, number).await);
        let sent = stands_still(&stage).await;
        assert!(sent - before < LARGE * number as u64, "{version:?}: everything has left, and nothing is shown");

        for round in 0..3 {
            quick_ones_are_answered(&place, &clients, &format!("{version:?}, {round}")).await;
        }

        assert_eq!(stage.sent(), sent, "{version:?}: it stands still all the while");
        // The slow ones read on, and nothing is missing.
        for answer in answers {
            let length = answer.bytes_stream().fold(0, async |sum, piece| sum + piece.unwrap().len() as u64).await;
            assert_eq!(length, LARGE, "{version:?}");
        }
    }
    place.wait_idle().await;
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_large_answer_keeps_nobody_elses_back() {
    slow_readers(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_clients_that_do_not_read_their_large_answers_keep_nobody_elses_back() {
    slow_readers(16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_the_service_does_not_take_keep_nobody_elses_request_back() {
    // More than all buffers on the way hold.
    const BYTES: usize = 9 << 20;
    let stage = Stage::start();
    let place = Place::start_with(&[Other { name: "stage", address: stage.address, protocol: "http1" }]).await;
    let clients = clients(&place);
    let body = bytes::Bytes::from(vec![b'x'; BYTES]);
    let mut uploads = JoinSet::new();
    let paths: Vec<String> = (0..16).map(|number| format!("/stage/{number}/untaken")).collect();
    // Over connections of their own: what they do to their clients' is not the question.
    for (path, version) in paths.iter().zip([Version::Http1, Version::Http2].into_iter().cycle()) {
        let request = place.http(version).post(format!("{}{path}", place.region("us-east").data)).body(body.clone());
        uploads.spawn(request.timeout(WITHIN * 3).send());
    }
    wait::until("the uploads at the service", WITHIN, async || paths.iter().all(|path| stage.body(path) == Some(Body::Coming(0)))).await.unwrap();

    for round in 0..5 {
        quick_ones_are_answered(&place, &clients, &format!("round {round}")).await;
    }

    assert!(paths.iter().all(|path| stage.body(path) == Some(Body::Coming(0))), "they stand still all the while");
    stage.cut();
    for answer in uploads.join_all().await {
        assert_eq!(answer.unwrap().text().await.unwrap(), format!("{BYTES} bytes"));
    }
    place.wait_idle().await;
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_come_byte_by_byte_keep_nobody_elses_request_back() {
    const BYTES: usize = 12;
    let stage = Stage::start();
    let place = Place::start_with(&[Other { name: "stage", address: stage.address, protocol: "http1" }]).await;
    let clients = clients(&place);
    let mut uploads = Vec::new();
    for version in [Version::Http1, Version::Http2] {
        for length in [None, Some(BYTES)] {
            let path = format!("/stage/slow-{version:?}-{}", length.is_some());
            uploads.push((Upload::begin(&place, version, &path, length), path));
        }
    }

    // The last one comes with the end: of a body with a length it is held until the stream is over.
    for number in 1..BYTES {
        for (upload, path) in &uploads {
            upload.piece(b"x").await;
            let found = wait::until("the byte at the service", WITHIN, async || stage.body(path) == Some(Body::Coming(number))).await;
            assert!(found.is_ok(), "{path}: {:?} and not byte {number}", stage.body(path));
        }
        quick_ones_are_answered(&place, &clients, &format!("byte {number}")).await;
    }

    for (upload, path) in uploads {
        upload.piece(b"x").await;
        let answer = upload.end().await;
        assert_eq!((answer.status(), answer.text().await.unwrap()), (StatusCode::OK, format!("{BYTES} bytes")), "{path}");
        assert_eq!(stage.body(&path), Some(Body::Whole(BYTES)), "{path}");
    }
    place.wait_idle().await;
    place.stop().await;
}
