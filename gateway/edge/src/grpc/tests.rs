use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header, request::Parts};
use model::{
    grpc::Code,
    problem::{Denial, ProblemKind},
    time::BootNanos,
};

use super::{Call, Form, PUSHBACK, TIMEOUT, replay::Replay, status, timeout_left};
use crate::refuse;

fn parts(version: Version, method: Method, content_type: &str) -> Parts {
    let request = Request::builder().version(version).method(method).header(header::CONTENT_TYPE, content_type);
    request.body(()).unwrap().into_parts().0
}

#[test]
fn only_posts_over_http2_with_the_media_type_are_calls() {
    let form = |version, method, content_type| Form::of(&parts(version, method, content_type));

    assert_eq!(form(Version::HTTP_2, Method::POST, "application/grpc+proto"), Form::Grpc);
    // Trailers do not reach clients of HTTP/1.1.
    assert_eq!(form(Version::HTTP_11, Method::POST, "application/grpc"), Form::Problem);
    assert_eq!(form(Version::HTTP_2, Method::GET, "application/grpc"), Form::Problem);
    assert_eq!(form(Version::HTTP_2, Method::POST, "application/grpc-web"), Form::Problem);
    assert_eq!(form(Version::HTTP_2, Method::POST, "application/json"), Form::Problem);
}

#[test]
fn timeouts_that_cannot_be_read_or_stand_twice_are_refused() {
    let read = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TIMEOUT, HeaderValue::from_str(value).unwrap());
        }
        Call::read(&headers).map(|call| call.ends(BootNanos(5))).map_err(|denial| denial.kind)
    };

    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&["3u"]), Ok(Some(BootNanos(3_005))));
    assert_eq!(read(&["99999999H"]), Ok(Some(BootNanos(u64::MAX))));
    for bad in [&["1"][..], &["1x"], &[""], &["123456789n"], &["1S", "1S"]] {
        assert_eq!(read(bad), Err(ProblemKind::RequestMalformed), "{bad:?}");
    }
    assert_eq!(timeout_left(BootNanos(2_000_000_000), BootNanos(500_000_000)).unwrap(), "1500000u");
    assert_eq!(timeout_left(BootNanos(1), BootNanos(2)).unwrap(), "1n");
}

/// Whatever the gateway refuses, a client of gRPC gets its own form of answer, with the fields that help it.
#[test]
fn every_refusal_is_a_response_of_trailers_alone() {
    for kind in ProblemKind::ALL.iter().copied() {
        let denial = Denial::new(kind, "100 % not ä").retry_after(3);

        let response = refuse::response(Form::Grpc, &denial, "id-12345", "eu", |_| {});

        let headers = response.headers();
        assert_eq!(response.status(), StatusCode::OK, "{}", kind.code());
        assert!(hyper::body::Body::is_end_stream(response.body()), "{}", kind.code());
        assert_eq!(headers[header::CONTENT_TYPE], "application/grpc");
        assert_eq!(status(headers), Some(Code::from(kind)));
        assert_eq!(headers["grpc-message"], "100 %25 not %C3%A4");
        assert_eq!(headers["causeway-problem"], kind.code());
        assert_eq!((&headers[PUSHBACK], &headers[header::RETRY_AFTER]), (&HeaderValue::from(3_000), &HeaderValue::from(3)));
        assert_eq!(headers["x-request-id"], "id-12345");
        assert!(headers.contains_key("proxy-status") && !headers.contains_key(header::CONTENT_LENGTH));
    }
}

#[test]
fn body_is_repeated_only_when_all_of_it_was_kept() {
    let piece = |bytes: usize| bytes::Bytes::from(vec![7; bytes]);
    let kept = |sizes: &[usize]| {
        let replay = Replay::default();
        for size in sizes {
            replay.piece(&piece(*size));
        }
        replay
    };

    let whole = kept(&[1, 2, 65_533]);
    assert!(whole.whole().is_none(), "it may go on");
    whole.end();
    assert_eq!(whole.whole().unwrap().whole_len(), 65_536);
    assert_eq!(whole.whole().unwrap().whole_len(), 65_536, "as often as it is asked for");
    whole.lose();
    assert!(whole.whole().is_none());
    let large = kept(&[65_536, 1]);
    large.end();
    assert!(large.whole().is_none());
}
