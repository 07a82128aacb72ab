//! What a service can do wrong, and what a client may then see.

/// One thing that a service does with a request. In texts `{n}` is the request's nonce: 16 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Writes a text.
    Send(&'static str),
    /// Writes a text so many times.
    Times(u32, &'static str),
    /// Writes a text again and again until the gateway has enough of it.
    Endless(&'static str),
    /// Waits so many milliseconds.
    Pause(u64),
    /// Ends the connection in order.
    Close,
    /// Resets it.
    Reset,
    /// Does nothing more, with the connection open.
    Hang,
}

/// When a service acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Once the whole request has come.
    AfterRequest,
    /// Once its head has come: what of the body is there stays unread.
    AfterHead,
}

/// What may become of the connection to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Another request may come over it.
    Reusable,
    /// Nothing may come over it any more: nobody can tell where the next answer would begin.
    InDoubt,
}

/// The method of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Get,
    Head,
    Post,
}

/// The client has the answer whole.
pub(super) const WHOLE: u8 = 1;
/// The client sees that the answer broke off.
pub(super) const CUT: u8 = 2;
/// The gateway answers with a problem of its own: 502, 503 or 504.
pub(super) const PROBLEM: u8 = 4;

/// One way to answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) when: When,
    pub(super) acts: &'static [Act],
    /// What the client may see, of [`WHOLE`], [`CUT`] and [`PROBLEM`].
    pub(super) may: u8,
    /// Length of the whole body, in nonces.
    pub(super) nonces: usize,
    pub(super) then: Then,
}

impl Case {
    const fn head(mut self) -> Self {
        self.kind = Kind::Head;
        self
    }

    const fn post(mut self) -> Self {
        self.kind = Kind::Post;
        self
    }

    const fn early(mut self) -> Self {
        self.when = When::AfterHead;
        self.post()
    }

    const fn nonces(mut self, nonces: usize) -> Self {
        self.nonces = nonces;
        self
    }

    const fn doubt(mut self) -> Self {
        self.then = Then::InDoubt;
        self
    }
}

const fn case(name: &'static str, may: u8, acts: &'static [Act]) -> Case {
    Case { name, kind: Kind::Get, when: When::AfterRequest, acts, may, nonces: 1, then: Then::Reusable }
}

/// An answer that breaks its framing: the connection must not be used again.
const fn bad(name: &'static str, may: u8, acts: &'static [Act]) -> Case {
    case(name, may, acts).doubt()
}

macro_rules! ok {
    ($rest:literal) => {
        concat!("HTTP/1.1 200 OK\r\nx-nonce: {n}\r\n", $rest)
    };
}

macro_rules! stolen {
    ($first:literal) => {
        concat!($first, "HTTP/1.1 200 OK\r\nx-nonce: stolenstolensto\r\ncontent-length: 16\r\n\r\nstolenstolenstol")
    };
}

use Act::{Close, Endless, Hang, Pause, Reset, Send, Times};

/// Lawful answers, which must arrive whole. They are the honest traffic over the same connections.
pub(super) const FINE: &[Case] = &[
    case("fine", WHOLE, &[Send(ok!("content-length: 16\r\n\r\n{n}"))]),
    case("fine-post", WHOLE, &[Send(ok!("content-length: 16\r\n\r\n{n}"))]).post(),
    case("fine-head", WHOLE, &[Send(ok!("content-length: 16\r\n\r\n"))]).head().nonces(0),
    case("fine-chunked", WHOLE, &[Send(ok!("transfer-encoding: chunked\r\n\r\n10\r\n{n}\r\n10;x=\"y\"\r\n{n}\r\n0\r\n\r\n"))]).nonces(2),
    case("fine-trailers", WHOLE, &[Send(ok!("transfer-encoding: chunked\r\n\r\n10\r\n{n}\r\n0\r\nx-sum: {n}\r\n\r\n"))]),
    case("fine-until-close", WHOLE, &[Send(ok!("connection: close\r\n\r\n{n}")), Close]),
    case("fine-empty", WHOLE, &[Send(ok!("content-length: 0\r\n\r\n"))]).nonces(0),
    case(
        "fine-pieces",
        WHOLE,
        &[Send("HTTP/1.1 200 OK\r\nx-no"), Pause(5), Send("nce: {n}\r\ncontent-length: 32\r\n\r"), Pause(5), Send("\n{n}"), Pause(5), Send("{n}")],
    )
    .nonces(2),
    case("fine-interim", WHOLE, &[Send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"), Send(ok!("content-length: 16\r\n\r\n{n}"))]),
    case("fine-large", WHOLE, &[Send(ok!("content-length: 262144\r\n\r\n")), Times(16_384, "{n}")]).nonces(16_384),
    case("fine-large-chunks", WHOLE, &[Send(ok!("transfer-encoding: chunked\r\n\r\n")), Times(4_096, "10\r\n{n}\r\n"), Send("0\r\n\r\n")])
        .nonces(4_096),
    case("fine-slow", WHOLE, &[Pause(100), Send(ok!("content-length: 48\r\n\r\n")), Pause(100), Send("{n}"), Pause(100), Send("{n}{n}")]).nonces(3),
];

/// Everything else.
pub(super) const FAULTS: &[Case] = &[
    // --- no answer
    case("closes", PROBLEM, &[Close]),
    case("resets", PROBLEM, &[Reset]),
    bad("hangs", PROBLEM, &[Hang]),
    case("closes-on-post", PROBLEM, &[Close]).post(),
    case("resets-on-post", PROBLEM, &[Reset]).post(),
    bad("hangs-on-post", PROBLEM, &[Hang]).post(),
    case("closes-late", PROBLEM, &[Pause(50), Close]),
    // --- half a head
    case("half-head-close", PROBLEM, &[Send("HTTP/1.1 200 OK\r\nx-nonce: {n}\r\ncontent-le"), Close]),
    case("half-head-reset", PROBLEM, &[Send("HTTP/1.1 200 OK\r\nx-nonce: {n}\r\ncontent-le"), Reset]),
    bad("half-head-hang", PROBLEM, &[Send("HTTP/1.1 200 OK\r\nx-nonce: {n}\r\ncontent-le"), Hang]),
    bad("half-line-hang", PROBLEM, &[Send("HTTP/1.1 2"), Hang]),
    // --- no HTTP
    bad("nonsense", PROBLEM, &[Send("nonsense\r\n\r\n")]),
    bad("nonsense-binary", PROBLEM, &[Send("\0\u{1}\u{2}\u{3}\r\n\r\n")]),
    bad("http2-preface", PROBLEM, &[Send("\0\0\0\u{4}\0\0\0\0\0")]),
    bad("http-0.9", PROBLEM, &[Send("<html>{n}</html>"), Close]),
    bad("status-short", PROBLEM, &[Send("HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n")]),
    bad("status-long", PROBLEM, &[Send("HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n")]),
    bad("status-letters", PROBLEM, &[Send("HTTP/1.1 2xx OK\r\ncontent-length: 0\r\n\r\n")]),
    bad("status-zero", PROBLEM, &[Send("HTTP/1.1 000 OK\r\ncontent-length: 0\r\n\r\n")]),
    bad("version-2.0", PROBLEM, &[Send("HTTP/2.0 200 OK\r\nx-nonce: {n}\r\ncontent-length: 16\r\n\r\n{n}")]),
    bad("version-lower", PROBLEM, &[Send("http/1.1 200 OK\r\nx-nonce: {n}\r\ncontent-length: 16\r\n\r\n{n}")]),
    // --- heads that nobody should pass on
    bad("field-name-space", PROBLEM, &[Send(ok!("bad name: x\r\ncontent-length: 16\r\n\r\n{n}"))]),
    bad("field-space-colon", PROBLEM, &[Send(ok!("content-length : 16\r\n\r\n{n}"))]),
    bad("field-no-colon", PROBLEM, &[Send(ok!("nothing\r\ncontent-length: 16\r\n\r\n{n}"))]),
    bad("field-empty-name", PROBLEM, &[Send(ok!(": x\r\ncontent-length: 16\r\n\r\n{n}"))]),
    bad("field-nul", PROBLEM, &[Send(ok!("x-a: a\0b\r\ncontent-length: 16\r\n\r\n{n}"))]),
    bad("field-bare-cr", PROBLEM, &[Send(ok!("x-a: a\rb\r\ncontent-length: 16\r\n\r\n{n}"))]),
    bad("field-folded", PROBLEM | WHOLE, &[Send(ok!("x-a: a\r\n b\r\ncontent-length: 16\r\n\r\n{n}"))]),
    bad("head-many-fields", PROBLEM, &[Send("HTTP/1.1 200 OK\r\n"), Times(1_000, "x-many: 1\r\n"), Send("content-length: 16\r\n\r\n{n}")]),
    bad("head-large-field", PROBLEM, &[Send("HTTP/1.1 200 OK\r\nx-large: "), Times(40_000, "{n}"), Send("\r\ncontent-length: 16\r\n\r\n{n}")]),
    bad("head-endless-fields", PROBLEM, &[Send("HTTP/1.1 200 OK\r\n"), Endless("x-endless: {n}\r\n")]),
    bad("head-endless-field", PROBLEM, &[Send("HTTP/1.1 200 OK\r\nx-endless: "), Endless("{n}")]),
    bad("head-endless-lines", PROBLEM, &[Endless("\r\n")]),
    // --- lengths that lie
    case("length-too-long-close", CUT | PROBLEM, &[Send(ok!("content-length: 48\r\n\r\n{n}")), Close]),
    case("length-too-long-reset", CUT | PROBLEM, &[Send(ok!("content-length: 48\r\n\r\n{n}")), Reset]),
    bad("length-too-long-hang", CUT | PROBLEM, &[Send(ok!("content-length: 48\r\n\r\n{n}")), Hang]),
    case("length-alone-close", CUT | PROBLEM, &[Send(ok!("content-length: 48\r\n\r\n")), Close]),
    bad("length-too-short", WHOLE | PROBLEM, &[Send(stolen!("HTTP/1.1 200 OK\r\nx-nonce: {n}\r\ncontent-length: 16\r\n\r\n{n}"))]),
    bad("length-too-short-garbage", WHOLE | PROBLEM, &[Send(ok!("content-length: 16\r\n\r\n{n}garbage"))]),
    bad("length-too-short-lines", WHOLE | PROBLEM, &[Send(ok!("content-length: 16\r\n\r\n{n}\r\n\r\n"))]),
    bad("length-zero-and-body", WHOLE | PROBLEM, &[Send(ok!("content-length: 0\r\n\r\n{n}"))]).nonces(0),
    bad("length-twice", PROBLEM, &[Send(ok!("content-length: 16\r\ncontent-length: 32\r\n\r\n{n}{n}"))]),
    bad("length-twice-less", PROBLEM, &[Send(ok!("content-length: 32\r\ncontent-length: 16\r\n\r\n{n}{n}"))]),
    bad("length-list", PROBLEM, &[Send(ok!("content-length: 16, 32\r\n\r\n{n}{n}"))]),
    case("length-twice-same", PROBLEM | WHOLE, &[Send(ok!("content-length: 16\r\ncontent-length: 16\r\n\r\n{n}"))]),
    bad("length-plus", PROBLEM, &[Send(ok!("content-length: +16\r\n\r\n{n}"))]),
    bad("length-minus", PROBLEM, &[Send(ok!("content-length: -16\r\n\r\n{n}"))]),
    bad("length-hex", PROBLEM, &[Send(ok!("content-length: 0x10\r\n\r\n{n}"))]),
    bad("length-blank", PROBLEM, &[Send(ok!("content-length:\r\n\r\n{n}"))]),
    bad("length-inner-space", PROBLEM, &[Send(ok!("content-length: 1 6\r\n\r\n{n}"))]),
    bad("length-overflow", PROBLEM, &[Send(ok!("content-length: 18446744073709551632\r\n\r\n{n}"))]),
    bad("length-huge", CUT | PROBLEM, &[Send(ok!("content-length: 9223372036854775807\r\n\r\n{n}")), Hang]),
    // --- codings that lie
    bad("length-and-chunked", PROBLEM | WHOLE, &[Send(ok!("content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{n}\r\n0\r\n\r\n"))]),
    bad("chunked-and-length", PROBLEM | WHOLE, &[Send(ok!("transfer-encoding: chunked\r\ncontent-length: 300\r\n\r\n10\r\n{n}\r\n0\r\n\r\n"))]),
    bad("coding-unknown", PROBLEM, &[Send(ok!("transfer-encoding: xchunked\r\n\r\n10\r\n{n}\r\n0\r\n\r\n")), Close]),
    bad("coding-identity", PROBLEM, &[Send(ok!("transfer-encoding: identity\r\ncontent-length: 16\r\n\r\n{n}"))]),
    bad("coding-twice", PROBLEM, &[Send(ok!("transfer-encoding: chunked, chunked\r\n\r\n10\r\n{n}\r\n0\r\n\r\n"))]),
    bad("coding-not-last", PROBLEM, &[Send(ok!("transfer-encoding: chunked, gzip\r\n\r\n10\r\n{n}\r\n0\r\n\r\n")), Close]),
    bad("coding-in-1.0", PROBLEM, &[Send("HTTP/1.0 200 OK\r\nx-nonce: {n}\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{n}\r\n0\r\n\r\n"), Close]),
    // --- chunks that lie
    case("chunk-close", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n10\r\n{n}\r\n20\r\n{n}")), Close]),
    case("chunk-reset", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n10\r\n{n}\r\n20\r\n{n}")), Reset]),
    bad("chunk-hang", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n10\r\n{n}\r\n20\r\n{n}")), Hang]),
    case("chunk-no-last", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n10\r\n{n}\r\n")), Close]),
    case("chunk-half-last", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n10\r\n{n}\r\n0\r\n")), Close]),
    case("chunk-none", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n")), Close]),
    bad("chunk-size-letters", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n10\r\n{n}\r\nzz\r\n{n}\r\n0\r\n\r\n"))]),
    bad("chunk-size-minus", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n-10\r\n{n}\r\n0\r\n\r\n"))]),
    bad("chunk-size-plus", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n+10\r\n{n}\r\n0\r\n\r\n"))]),
    bad("chunk-size-0x", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n0x10\r\n{n}\r\n0\r\n\r\n"))]),
    bad("chunk-size-blank", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n\r\n{n}\r\n0\r\n\r\n"))]),
    bad("chunk-size-overflow", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n10000000000000010\r\n{n}\r\n0\r\n\r\n"))]),
    bad("chunk-size-endless", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n")), Endless("0000000000000000")]),
    bad("chunk-end-missing", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n10\r\n{n}0\r\n\r\n"))]),
    bad("chunk-end-wrong", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n10\r\n{n}XX0\r\n\r\n"))]),
    bad("chunk-extension-endless", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n10;")), Endless("{n}")]),
    bad("trailers-endless", CUT | PROBLEM, &[Send(ok!("transfer-encoding: chunked\r\n\r\n10\r\n{n}\r\n0\r\n")), Endless("x-endless: {n}\r\n")]),
    bad(
        "chunked-and-more",
        WHOLE | PROBLEM,
        &[Send(stolen!("HTTP/1.1 200 OK\r\nx-nonce: {n}\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{n}\r\n0\r\n\r\n"))],
    ),
    case(
        "trailers-with-framing",
        WHOLE | CUT | PROBLEM,
        &[Send(ok!("transfer-encoding: chunked\r\n\r\n10\r\n{n}\r\n0\r\ncontent-length: 99\r\ntransfer-encoding: gzip\r\n\r\n"))],
    ),
    // --- informational answers
    bad("interim-endless", PROBLEM, &[Endless("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")]),
    bad("interim-only", PROBLEM, &[Send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"), Hang]),
    case("interim-close", PROBLEM, &[Send("HTTP/1.1 100 Continue\r\n\r\n"), Close]),
    case(
        "interim-storm",
        WHOLE | PROBLEM,
        &[Times(200, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"), Send(ok!("content-length: 16\r\n\r\n{n}"))],
    ),
    bad("switches", PROBLEM, &[Send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: evil\r\n\r\n{n}")]),
    // --- bodies where none may be
    bad("head-with-body", WHOLE | PROBLEM, &[Send(stolen!("HTTP/1.1 200 OK\r\nx-nonce: {n}\r\ncontent-length: 160\r\n\r\n"))]).head().nonces(0),
    bad("no-content-with-body", WHOLE | PROBLEM, &[Send(stolen!("HTTP/1.1 204 No Content\r\nx-nonce: {n}\r\n\r\n"))]).nonces(0),
    bad("no-content-with-length", WHOLE | PROBLEM, &[Send("HTTP/1.1 204 No Content\r\nx-nonce: {n}\r\ncontent-length: 16\r\n\r\n{n}")]).nonces(0),
    bad("not-modified-with-body", WHOLE | PROBLEM, &[Send("HTTP/1.1 304 Not Modified\r\nx-nonce: {n}\r\n\r\n{n}")]).nonces(0),
    // --- answers that do not wait for the request
    case("early-close", WHOLE | CUT | PROBLEM, &[Send(ok!("content-length: 16\r\nconnection: close\r\n\r\n{n}")), Close]).early(),
    case("early-reset", WHOLE | CUT | PROBLEM, &[Send(ok!("content-length: 16\r\n\r\n{n}")), Reset]).early(),
    bad("early-deaf", WHOLE | CUT | PROBLEM, &[Send(ok!("content-length: 16\r\n\r\n{n}")), Hang]).early(),
    // --- and slowness beyond the deadlines
    bad("slow-head", PROBLEM, &[Pause(1_800), Send(ok!("content-length: 16\r\n\r\n{n}"))]),
    bad(
        "slow-drip-of-head",
        PROBLEM,
        &[Send("HTTP/1.1 200 OK\r\n"), Pause(600), Send("x-nonce: {n}\r\n"), Pause(600), Send("x-a: b\r\n"), Pause(600), Send("x-c: d\r\n")],
    ),
    bad("slow-body", CUT | PROBLEM, &[Send(ok!("content-length: 32\r\n\r\n{n}")), Pause(4_000), Send("{n}")]),
];
