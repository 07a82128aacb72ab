//! What ends in the middle while it crosses: nobody takes the half for the whole, and everything else goes on.

use bytes::Bytes;
use futures_util::stream;
use harness::client::Version;
use harness::node::Under;
use harness::wait;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::place::{Other, Place, WITHIN};
use super::stage::{Body, Stage};

/// A request whose body a test sends piece by piece.
pub(super) struct Upload {
    pieces: mpsc::Sender<Result<Bytes, std::io::Error>>,
    answer: JoinSet<reqwest::Result<Response>>,
}

impl Upload {
    pub(super) fn begin(place: &Place, version: Version, path: &str, length: Option<usize>) -> Self {
        let (pieces, receiver) = mpsc::channel(1);
        let body = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
        let request = place.http(version).post(format!("{}{path}", place.region("us-east").data)).header("x-request-id", id_of(path));
        let request = length.into_iter().fold(request, |request, length| request.header("content-length", length));
        let mut answer = JoinSet::new();
        answer.spawn(request.body(reqwest::Body::wrap_stream(body)).timeout(WITHIN * 3).send());
        Self { pieces, answer }
    }

    pub(super) async fn piece(&self, bytes: &'static [u8]) {
        self.pieces.send(Ok(Bytes::from_static(bytes))).await.unwrap();
    }

    /// Ends the body as it should.
    pub(super) async fn end(mut self) -> Response {
        drop(self.pieces);
        self.answer.join_next().await.unwrap().unwrap().unwrap()
    }

    /// Leaves in the middle of the body.
    async fn leave(mut self) {
        self.pieces.send(Err(std::io::Error::other("as told"))).await.unwrap();
        assert!(self.answer.join_next().await.unwrap().unwrap().is_err(), "a client that has left gets no answer");
    }

    /// Waits for an answer that comes before the end of the body.
    async fn answer(mut self) -> Response {
        self.answer.join_next().await.unwrap().unwrap().unwrap()
    }
}

fn id_of(path: &str) -> String {
    path.trim_start_matches('/').replace('/', "-")
}

async fn place(stage: &Stage) -> Place {
    Place::start_with(&[Other { name: "stage", address: stage.address, protocol: "http1" }]).await
}

async fn text(place: &Place, path: &str) -> (StatusCode, String) {
    let answer = place.get(place.region("us-east"), path).await;
    (answer.status(), answer.text().await.unwrap())
}

async fn arrived(stage: &Stage, path: &str, body: Body) {
    let found = wait::until("what came at the service", WITHIN, async || stage.body(path) == Some(body)).await;
    assert!(found.is_ok(), "{path}: {:?} instead of {body:?}", stage.body(path));
}

const BOTH: [Version; 2] = [Version::Http1, Version::Http2];

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_its_client_cuts_off_is_no_shorter_one_for_the_service_and_ends_no_other_request() {
    let stage = Stage::start();
    let place = place(&stage).await;
    let kept = BOTH.map(|version| (version, format!("/stage/kept-{version:?}")));
    let mut going = Vec::new();
    for (version, path) in &kept {
        let upload = Upload::begin(&place, *version, path, None);
        upload.piece(b"first").await;
        arrived(&stage, path, Body::Coming(5)).await;
        going.push(upload);
    }
    let mut ids = Vec::new();
    for version in BOTH {
        for length in [None, Some(100)] {
            for round in 0..3 {
                let path = format!("/stage/cut-{version:?}-{}-{round}", length.is_some());
                let upload = Upload::begin(&place, version, &path, length);
                upload.piece(b"half").await;
                arrived(&stage, &path, Body::Coming(4)).await;
                upload.leave().await;
                arrived(&stage, &path, Body::Broken(4)).await;
                assert_eq!(text(&place, "/stage/quick").await, (StatusCode::OK, "0 bytes".to_owned()), "{path}");
                ids.push(id_of(&path));
            }
        }
    }
    for (upload, (_, path)) in going.into_iter().zip(&kept) {
        assert_eq!(stage.body(path), Some(Body::Coming(5)), "the others' ends are not its own");
        upload.piece(b"second").await;
        let answer = upload.end().await;
        assert_eq!((answer.status(), answer.text().await.unwrap().as_str()), (StatusCode::OK, "11 bytes"));
        assert_eq!(stage.body(path), Some(Body::Whole(11)));
    }
    place.wait_idle().await;
    for id in ids {
        let (records, _) = wait::some("both records", WITHIN, async || Some(place.records(&id).await).filter(|records| records.len() >= 2))
            .await
            .unwrap_or_else(|error| panic!("{error} of {id}"));
        // A body that broke off is seen as that, or as a client that went away: whichever shows first.
        let is_told = |record: &str, region: &str| ["aborted", "denied"].iter().any(|outcome| record == format!("{region} outcome {outcome}"));
        assert!(records.len() == 2 && is_told(&records[0], "eu-west") && is_told(&records[1], "us-east"), "{id}: {records:?}");
    }
    place.stop().await;
}

/// An answer of which half has come.
struct Half {
    id: String,
    answer: Response,
}

/// Asks for answers of all kinds that stand still in their middle.
async fn halves(place: &Place, words: &[&str]) -> Vec<Half> {
    let mut halves = Vec::new();
    for version in BOTH {
        for word in words {
            for query in ["", "?chunked"] {
                let id = format!("{word}-{version:?}-{}", query.is_empty());
                let request = place.http(version).get(format!("{}/stage/{word}{query}", place.region("us-east").data));
                let mut answer = request.header("x-request-id", &id).timeout(WITHIN * 3).send().await.unwrap();
                assert_eq!((answer.status(), answer.chunk().await.unwrap().as_deref()), (StatusCode::OK, Some(&b"half"[..])), "{id}");
                halves.push(Half { id, answer });
            }
        }
    }
    halves
}

/// Each ends as what is not whole, and is recorded so by these regions.
async fn all_break_off(place: &Place, halves: Vec<Half>, regions: &[&str]) {
    for Half { id, mut answer } in halves {
        let rest = tokio::time::timeout(WITHIN, answer.chunk()).await.expect("it ends");
        assert!(rest.is_err(), "{id} ends as if it were whole: {rest:?}");
        for region in regions {
            let wanted = [format!("{region} close error"), format!("{region} outcome ok")];
            let of_region = async || place.records(&id).await.into_iter().filter(|record| record.starts_with(region)).collect::<Vec<_>>();
            let recorded = wait::until("the records", WITHIN, async || of_region().await == wanted).await;
            assert!(recorded.is_ok(), "{id}: {:?}", of_region().await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_its_service_breaks_off_is_no_whole_one_on_the_other_side_of_the_crossing() {
    let stage = Stage::start();
    let place = place(&stage).await;
    let halves = halves(&place, &["half-close", "half-reset"]).await;
    assert_eq!(text(&place, "/stage/quick").await.0, StatusCode::OK);

    stage.cut();
    all_break_off(&place, halves, &["eu-west", "us-east"]).await;

    assert_eq!(text(&place, "/stage/quick").await, (StatusCode::OK, "0 bytes".to_owned()), "it was one answer's end, and not the crossing's");
    place.wait_idle().await;
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_in_the_middle_of_answers_leaves_broken_ones_and_refusals_until_it_is_back() {
    let stage = Stage::start();
    let mut place = place(&stage).await;
    let halves = halves(&place, &["half-close"]).await;
    let mut going = Vec::new();
    for version in BOTH {
        let path = format!("/stage/dying-{version:?}");
        let upload = Upload::begin(&place, version, &path, None);
        upload.piece(b"half").await;
        arrived(&stage, &path, Body::Coming(4)).await;
        going.push((path, upload));
    }

    place.nodes.get_mut("eu-west").unwrap().kill().await.unwrap();

    all_break_off(&place, halves, &["us-east"]).await;
    for (path, upload) in going {
        let answer = upload.answer().await;
        assert_eq!(refusal(answer).await, (502, "upstream-unreachable".to_owned()), "{path}");
        arrived(&stage, &path, Body::Broken(4)).await;
        let wanted = ["us-east outcome error"];
        let recorded = wait::until("the record", WITHIN, async || place.records(&id_of(&path)).await == wanted).await;
        assert!(recorded.is_ok(), "{path}: {:?}", place.records(&id_of(&path)).await);
    }
    let us = place.region("us-east").clone();
    for _ in 0..20 {
        let (status, code) = refusal(place.get(&us, "/stage/quick").await).await;
        assert!([(502, "upstream-unreachable"), (503, "circuit-open")].contains(&(status, &*code)), "{status} {code}");
    }
    place.wait_idle_in(&us).await;

    place.nodes.get_mut("eu-west").unwrap().start(Under::Bare).await.unwrap();
    wait::until("the gateway again", WITHIN, async || text(&place, "/stage/quick").await.0 == StatusCode::OK).await.unwrap();
    for version in BOTH {
        let path = format!("/stage/after-{version:?}");
        let upload = Upload::begin(&place, version, &path, None);
        upload.piece(b"whole").await;
        assert_eq!(upload.end().await.text().await.unwrap(), "5 bytes");
    }
    place.stop().await;
}

/// Status and code of a problem document.
async fn refusal(answer: Response) -> (u16, String) {
    assert_eq!(answer.headers()["content-type"], "application/problem+json", "{answer:?}");
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap();
    (status, problem["code"].as_str().unwrap().to_owned())
}
