use std::{
    collections::VecDeque,
    io::Read,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use super::*;
use crate::body::BodyError;

const ALL: [CodingDoc; 3] = [CodingDoc::Zstd, CodingDoc::Br, CodingDoc::Gzip];

fn decode(coding: CodingDoc, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        CodingDoc::Gzip => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut out)),
        CodingDoc::Br => drop(brotli::Decompressor::new(bytes, 4_096).read_to_end(&mut out)),
        CodingDoc::Zstd => drop(zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut out)),
    }
    out
}

/// A body that gives what it is told; `None` means that nothing has come yet.
struct Script(VecDeque<Option<Result<Frame<Bytes>, BodyError>>>);

impl Body for Script {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.0.pop_front() {
            Some(Some(frame)) => Poll::Ready(Some(frame)),
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(None),
        }
    }
}

/// Polls until there is something to say.
fn next(body: &mut Compressed<Script>) -> Option<Result<Frame<Bytes>, BodyError>> {
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(&mut cx) {
            return frame;
        }
    }
}

fn compressed(coding: CodingDoc, script: Vec<Option<Result<Frame<Bytes>, BodyError>>>) -> Compressed<Script> {
    Compressed::new(Script(script.into()), Coder::new(coding).unwrap())
}

fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

#[test]
fn the_coding_with_the_highest_weight_is_chosen() {
    let check = |accept: &[&'static str], offered: &[CodingDoc], expected: Option<CodingDoc>| {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        assert_eq!(negotiate(&headers, offered), expected, "{accept:?} {offered:?}");
    };
    let gzip_first = [CodingDoc::Gzip, CodingDoc::Br];

    check(&[], &ALL, None);
    check(&[""], &ALL, None);
    check(&["identity"], &ALL, None);
    check(&["deflate, compress"], &ALL, None);
    check(&["gzip, deflate, br, zstd"], &ALL, Some(CodingDoc::Zstd));
    check(&["gzip, deflate, br, zstd"], &gzip_first, Some(CodingDoc::Gzip));
    check(&["gzip", "br"], &ALL, Some(CodingDoc::Br));
    check(&["GZIP;Q=0.5 , Br ; q=0.4"], &ALL, Some(CodingDoc::Gzip));
    check(&["x-gzip"], &ALL, Some(CodingDoc::Gzip));
    check(&["*"], &ALL, Some(CodingDoc::Zstd));
    check(&["zstd;q=0, *;q=0.1"], &ALL, Some(CodingDoc::Br));
    check(&["*;q=0"], &ALL, None);
    check(&["gzip;q=0"], &ALL, None);
    check(&["gzip;q=0.000, br;q=0.001"], &ALL, Some(CodingDoc::Br));
    check(&["identity, gzip;q=0.5"], &ALL, None);
    check(&["identity;q=0.5, gzip;q=0.5"], &ALL, Some(CodingDoc::Gzip));
    check(&["identity;q=0, gzip;q=0.1"], &ALL, Some(CodingDoc::Gzip));
    check(&["gzip;q=2, br;q=1.001, zstd;q=0.1234"], &ALL, None);
    check(&["gzip;q=x, br;level=5"], &ALL, None);
}

#[test]
fn what_is_compressed_reads_back_and_pauses_hold_nothing_back() {
    for coding in ALL {
        let mut body =
            compressed(coding, vec![Some(Ok(data("first piece"))), None, Some(Ok(data(", second"))), Some(Ok(data(" and third"))), None, None]);
        let mut so_far = Vec::new();

        for expected in ["first piece", "first piece, second and third"] {
            so_far.extend_from_slice(&next(&mut body).unwrap().unwrap().into_data().unwrap());
            assert_eq!(String::from_utf8(decode(coding, &so_far)).unwrap(), expected, "{coding:?}: readable before the end");
        }
        while let Some(frame) = next(&mut body) {
            so_far.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }

        assert!(body.is_end_stream());
        assert_eq!(decode(coding, &so_far), b"first piece, second and third", "{coding:?}");
    }
}

#[test]
fn large_pieces_are_taken_in_parts_and_trailers_follow() {
    let text = (0..200_000).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
    for coding in ALL {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-end", HeaderValue::from_static("1"));
        let mut body = compressed(coding, vec![Some(Ok(Frame::data(Bytes::from(text.clone())))), Some(Ok(Frame::trailers(trailers)))]);
        let (mut out, mut frames, mut end) = (Vec::new(), 0, None);

        while let Some(frame) = next(&mut body) {
            match frame.unwrap().into_data() {
                Ok(piece) => {
                    assert!(!piece.is_empty() && end.is_none());
                    frames += 1;
                    out.extend_from_slice(&piece);
                }
                Err(frame) => end = frame.into_trailers().ok(),
            }
        }

        assert!(frames > 5 && out.len() < text.len() / 2, "{coding:?}: {frames} frames, {} bytes", out.len());
        assert!(decode(coding, &out) == text.as_bytes(), "{coding:?}");
        assert_eq!(end.unwrap().get("x-end").unwrap(), "1");
    }
}

#[test]
fn a_body_that_breaks_off_is_not_ended_in_order() {
    for coding in ALL {
        let mut body = compressed(coding, vec![Some(Ok(data("half"))), Some(Err(BodyError::Broken))]);

        assert_eq!(next(&mut body).unwrap().err(), Some(BodyError::Broken), "{coding:?}");
        assert!(next(&mut body).is_none());
    }
}

fn answer_for(headers: &[(&'static str, &'static str)], status: u16, body: &'static str) -> Response<ReplyBody> {
    let rules = Compression { types: ["text/plain".into()].into(), codings: ALL.into(), bytes_min: 16 };
    let mut response = Response::new(ReplyBody::Whole(Some(Bytes::from_static(body.as_bytes()))));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    answer(&rules, Some(CodingDoc::Gzip), false, response)
}

#[test]
fn only_complete_representations_that_nobody_fixed_are_compressed() {
    const LONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let plain = ("content-type", "text/plain; charset=utf-8");
    let check = |headers: &[(&'static str, &'static str)], status: u16, body: &'static str, encoded: bool, varies: bool| {
        let response = answer_for(headers, status, body);
        assert_eq!(response.headers().get("content-encoding").is_some_and(|coding| coding == "gzip"), encoded, "{headers:?} {status}");
        assert_eq!(response.headers().contains_key("vary"), varies, "{headers:?} {status}");
    };

    check(&[plain], 200, LONG, true, true);
    check(&[plain], 404, LONG, true, true);
    check(&[plain], 200, "short", false, true);
    check(&[("content-type", "image/png")], 200, LONG, false, false);
    check(&[], 200, LONG, false, false);
    check(&[plain, ("content-encoding", "br")], 200, LONG, false, false);
    check(&[plain, ("cache-control", "public, No-Transform")], 200, LONG, false, false);
    check(&[plain, ("content-range", "bytes 0-79/100")], 206, LONG, false, false);
    check(&[plain], 206, LONG, false, false);
    check(&[plain, ("content-digest", "sha-256=:x:")], 200, LONG, false, false);
    check(&[], 304, "", false, true);
    check(&[], 204, "", false, false);

    let response = answer_for(&[plain, ("etag", "\"v1\""), ("accept-ranges", "bytes"), ("vary", "Origin")], 200, LONG);
    assert_eq!(response.headers()["etag"], "W/\"v1\"");
    assert!(!response.headers().contains_key("accept-ranges"));
    assert_eq!(response.headers().get_all("vary").iter().count(), 2);
    let weak = answer_for(&[plain, ("etag", "W/\"v1\"")], 200, LONG);
    assert_eq!(weak.headers()["etag"], "W/\"v1\"");
}
