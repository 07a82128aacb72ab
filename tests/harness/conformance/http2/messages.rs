//! RFC 9113 sections 8.1, 8.3 and 8.5: requests, their pseudo-header fields, lengths and trailers.

use super::{Case, Expect, Kit, Step, data, encode, must, send, should, whole};
use crate::conformance::Found;
use crate::frames::{END_HEADERS, END_STREAM, HEADERS, block, frame};

const MALFORMED: Expect = Expect::Refused(1);

fn without_body(seen: &super::Seen) -> Found {
    match (seen.status(1), seen.body(1)) {
        (Some(200..=299), 0) if seen.reset(1).is_none() => Found::Kept,
        (Some(status), bytes) => Found::Broken(format!("answered {status} with {bytes} bytes{}", seen.told())),
        (None, _) => Found::Broken(format!("not answered{}", seen.told())),
    }
}

/// A request with a pseudo-header field of another value.
fn altered(kit: &Kit<'_>, name: &str, value: &str) -> Vec<Step> {
    send([whole(1, &kit.altered("GET", name, value))])
}

pub(super) fn cases() -> Vec<Case> {
    [bodies(), trailers(), pseudo(), values(), connect()].into_iter().flatten().collect()
}

fn bodies() -> Vec<Case> {
    vec![
        must(
            "9113-8.1.1",
            "a body shorter than its length is malformed",
            |kit| send([kit.post_with(1, &[("content-length", "9")]), data(1, END_STREAM, b"a")]),
            MALFORMED,
        ),
        must(
            "9113-8.1.1",
            "a body longer than its length is malformed",
            |kit| send([kit.post_with(1, &[("content-length", "1")]), data(1, END_STREAM, b"abc")]),
            MALFORMED,
        ),
        must(
            "9113-8.1.1",
            "pieces of a body longer than its length are malformed",
            |kit| send([kit.post_with(1, &[("content-length", "1")]), data(1, 0, b"a"), data(1, END_STREAM, b"b")]),
            MALFORMED,
        ),
        must("9113-8.1.1", "a length without a body is malformed", |kit| send([kit.get_with(1, &[("content-length", "3")])]), MALFORMED),
        must(
            "9113-8.1.1",
            "a length that is no number is malformed",
            |kit| send([kit.post_with(1, &[("content-length", "1a")]), data(1, END_STREAM, b"a")]),
            MALFORMED,
        ),
        must(
            "9113-8.1.1",
            "a length with a sign is malformed",
            |kit| send([kit.post_with(1, &[("content-length", "+1")]), data(1, END_STREAM, b"a")]),
            MALFORMED,
        ),
        must(
            "9113-8.1.1",
            "two lengths are malformed",
            |kit| send([kit.post_with(1, &[("content-length", "1"), ("content-length", "2")]), data(1, END_STREAM, b"a")]),
            MALFORMED,
        ),
        must(
            "9113-8.1",
            "a body of the length that it says is served",
            |kit| send([kit.post_with(1, &[("content-length", "3")]), data(1, 0, b"a"), data(1, END_STREAM, b"bc")]),
            Expect::Served(1),
        ),
        must(
            "9113-8.1",
            "a body without a length is served",
            |kit| send([kit.post(1), data(1, 0, b"a"), data(1, END_STREAM, b"bc")]),
            Expect::Served(1),
        ),
        must("9113-8.1", "a length of 0 without a body is served", |kit| send([kit.get_with(1, &[("content-length", "0")])]), Expect::Served(1)),
        must(
            "9113-8.1",
            "the answer to HEAD has no body",
            |kit| vec![Step::Send(whole(1, &kit.block("HEAD", &[]))), Step::Answer(1)],
            Expect::Judge(without_body),
        ),
        must(
            "9110-10.1.1",
            "a client that expects 100 is served",
            |kit| send([kit.post_with(1, &[("expect", "100-continue")]), data(1, END_STREAM, b"a")]),
            Expect::Served(1),
        ),
    ]
}

fn trailers() -> Vec<Case> {
    vec![
        must(
            "9113-8.1",
            "trailers are taken",
            |kit| send([kit.post_with(1, &[("trailer", "x-sum")]), data(1, 0, b"a"), whole(1, &block(&[(b"x-sum", b"1")]))]),
            Expect::Served(1),
        ),
        must("9113-8.1", "trailers may follow the head at once", |kit| send([kit.post(1), whole(1, &block(&[(b"x-sum", b"1")]))]), Expect::Served(1)),
        must(
            "9113-8.1",
            "trailers that do not end the stream are malformed",
            |kit| send([kit.post(1), data(1, 0, b"a"), frame(HEADERS, END_HEADERS, 1, &block(&[(b"x-sum", b"1")]))]),
            MALFORMED,
        ),
        must(
            "9113-8.1",
            "pseudo-header fields in trailers are malformed",
            |kit| send([kit.post(1), data(1, 0, b"a"), whole(1, &block(&[(b":path", b"/")]))]),
            MALFORMED,
        ),
        must(
            "9113-8.2",
            "names in trailers are lower-case",
            |kit| send([kit.post(1), data(1, 0, b"a"), whole(1, &block(&[(b"X-Sum", b"1")]))]),
            MALFORMED,
        ),
    ]
}

fn pseudo() -> Vec<Case> {
    vec![
        must(
            "9113-8.3",
            "pseudo-header fields come first",
            |kit| {
                let mut fields = kit.fields("GET", &[("x-a", "b")]);
                fields.rotate_right(1);
                send([whole(1, &encode(&fields))])
            },
            MALFORMED,
        ),
        must(
            "9113-8.3",
            "unknown pseudo-header fields are malformed",
            |kit| send([whole(1, &[block(&[(b":unknown", b"1")]), kit.block("GET", &[])].concat())]),
            MALFORMED,
        ),
        must(
            "9113-8.3",
            "pseudo-header fields of responses are malformed",
            |kit| send([whole(1, &[block(&[(b":status", b"200")]), kit.block("GET", &[])].concat())]),
            MALFORMED,
        ),
        must("9113-8.3.1", ":method is needed", |kit| send([whole(1, &kit.without(":method"))]), MALFORMED),
        must("9113-8.3.1", ":scheme is needed", |kit| send([whole(1, &kit.without(":scheme"))]), MALFORMED),
        must("9113-8.3.1", ":path is needed", |kit| send([whole(1, &kit.without(":path"))]), MALFORMED),
        must(
            "9113-8.3.1",
            ":method comes once",
            |kit| send([whole(1, &[block(&[(b":method", b"GET")]), kit.block("GET", &[])].concat())]),
            MALFORMED,
        ),
        must(
            "9113-8.3.1",
            ":scheme comes once",
            |kit| send([whole(1, &[block(&[(b":scheme", b"https")]), kit.block("GET", &[])].concat())]),
            MALFORMED,
        ),
        must("9113-8.3.1", ":path comes once", |kit| send([whole(1, &[block(&[(b":path", b"/")]), kit.block("GET", &[])].concat())]), MALFORMED),
        must(
            "9113-8.3.1",
            ":authority comes once",
            |kit| send([whole(1, &[block(&[(b":authority", b"a.example")]), kit.block("GET", &[])].concat())]),
            MALFORMED,
        ),
        must(
            "9113-8.3.1",
            "Host stands in for :authority",
            |kit| send([whole(1, &[kit.without(":authority"), block(&[(b"host", kit.0.authority.as_bytes())])].concat())]),
            Expect::Served(1),
        ),
        must("9113-8.3.1", "a host is named", |kit| send([whole(1, &kit.without(":authority"))]), MALFORMED),
        should("9113-8.3.1", "Host and :authority name the same host", |kit| send([kit.get_with(1, &[("host", "other.example")])]), MALFORMED),
    ]
}

fn values() -> Vec<Case> {
    vec![
        must("9113-8.3.1", ":path is not empty", |kit| altered(kit, ":path", ""), MALFORMED),
        must("9113-8.3.1", ":path begins with a slash", |kit| altered(kit, ":path", "no/slash"), MALFORMED),
        must("9113-8.3.1", ":path is * for OPTIONS alone", |kit| altered(kit, ":path", "*"), MALFORMED),
        must("9113-8.3.1", ":path holds no blank", |kit| altered(kit, ":path", "/a b"), MALFORMED),
        must("9113-8.3.1", ":path holds no line end", |kit| altered(kit, ":path", "/a\r\nx: y"), MALFORMED),
        must("9113-8.3.1", ":path holds no NUL", |kit| altered(kit, ":path", "/a\0"), MALFORMED),
        should("9113-8.3.1", ":path holds no fragment", |kit| altered(kit, ":path", &format!("{}#fragment", kit.0.path)), MALFORMED),
        must("9113-8.3.1", ":authority holds no user", |kit| altered(kit, ":authority", &format!("user@{}", kit.0.authority)), MALFORMED),
        must("9113-8.3.1", ":authority holds no blank", |kit| altered(kit, ":authority", "a b"), MALFORMED),
        must("9113-8.3.1", ":authority holds no path", |kit| altered(kit, ":authority", "a.example/b"), MALFORMED),
        should("9113-8.3.1", ":scheme is one that the server serves", |kit| altered(kit, ":scheme", "xttp"), MALFORMED),
        must("9113-8.3.1", ":scheme is a scheme", |kit| altered(kit, ":scheme", "ht tps"), MALFORMED),
        must("9110-9.1", ":method is a token", |kit| altered(kit, ":method", "GE T"), MALFORMED),
        must("9110-9.1", ":method is not empty", |kit| altered(kit, ":method", ""), MALFORMED),
    ]
}

fn connect() -> Vec<Case> {
    vec![
        must("9113-8.5", "CONNECT has no :scheme and no :path", |kit| send([frame(HEADERS, END_HEADERS, 1, &kit.block("CONNECT", &[]))]), MALFORMED),
        must("9113-8.5", "CONNECT names an authority", |_| send([frame(HEADERS, END_HEADERS, 1, &block(&[(b":method", b"CONNECT")]))]), MALFORMED),
        must(
            "9110-9.3.6",
            "CONNECT opens no tunnel to a host that is not meant",
            |_| send([frame(HEADERS, END_HEADERS, 1, &block(&[(b":method", b"CONNECT"), (b":authority", b"127.0.0.1:1")]))]),
            MALFORMED,
        ),
        should(
            "8441-4",
            ":protocol is malformed without CONNECT",
            |kit| send([whole(1, &[block(&[(b":protocol", b"websocket")]), kit.block("GET", &[])].concat())]),
            MALFORMED,
        ),
    ]
}
