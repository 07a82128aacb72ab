//! Streams of requests: a grammar that knows every place where two readers may differ, and bytes changed at random besides.

use harness::seed::Random;

/// Bytes that mean something somewhere.
const SHARP: &[u8] = b"\r\n\0 \t:;,+-0159afx\x0b\x0c\x7f\x80\x85\xa0\xff/\"'()=\x01";

/// Spellings of a length; `{n}` is the true one, `{m}` another.
const LENGTHS: &[&str] = &[
    "content-length: {n}",
    "Content-Length:{n}",
    "CONTENT-LENGTH: {n}",
    "content-length: {m}",
    "content-length: +{n}",
    "content-length: -{n}",
    "content-length: 0x{n}",
    "content-length:  {n}  ",
    "content-length:\t{n}",
    "content-length: {n},{n}",
    "content-length: {n}, {m}",
    "content-length: {n};a",
    "content-length: {n}.0",
    "content-length: {n}e0",
    "content-length: 0{n}",
    "content-length: 000000000000000000000000{n}",
    "content-length: 18446744073709551616",
    "content-length: 18446744073709551615",
    "content-length: 9223372036854775808",
    "content-length:",
    "content_length: {n}",
    "content-length : {n}",
    "content-length\t: {n}",
    " content-length: {n}",
    "\tcontent-length: {n}",
    "content-length\0: {n}",
    "x-a: y\ncontent-length: {n}",
    "x-a: y\rcontent-length: {n}",
    "content-length:\u{b}{n}",
    "content-length:\r\n {n}",
    "content-length: {n}\r\n {m}",
    "content-length: {n}\0",
    "content-length: {n}\u{b}",
    "content-length: {n} {m}",
    "content-length: \"{n}\"",
    "content-length: ,{n}",
    "content-length: {n},",
    "content-length: 0\r\ncontent-length: {n}",
    "content-length: {n}\r\ncontent-length: {n}",
    "content-length: {n}\r\ncontent-length: {m}",
    "content-length: {m}\r\ncontent-length: {n}",
    "content-length: {n}\ncontent-length: {m}",
    "content-length: 1_0",
    "content-length: ١",
    "content-length: {n}\u{7f}",
];

/// Spellings of a transfer coding.
const CODINGS: &[&str] = &[
    "transfer-encoding: chunked",
    "Transfer-Encoding:chunked",
    "TRANSFER-ENCODING: CHUNKED",
    "transfer-encoding: Chunked",
    "transfer-encoding: chunked, identity",
    "transfer-encoding: identity, chunked",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: chunked, chunked",
    "transfer-encoding: chunked;q=1",
    "transfer-encoding: \"chunked\"",
    "transfer-encoding: 'chunked'",
    "transfer-encoding: xchunked",
    "transfer-encoding: chunkedx",
    "transfer-encoding: chunked\u{b}",
    "transfer-encoding: \u{b}chunked",
    "transfer-encoding:  chunked  ",
    "transfer-encoding:\tchunked\t",
    "transfer-encoding : chunked",
    "transfer_encoding: chunked",
    "transfer-encoding\t: chunked",
    " transfer-encoding: chunked",
    "transfer-encoding:\r\n chunked",
    "transfer-encoding: chunked\r\n x",
    "transfer-encoding: chu\r\n nked",
    "transfer-encoding: \0chunked",
    "transfer-encoding: chunked\0",
    "transfer-encoding\0: chunked",
    "x-a: y\ntransfer-encoding: chunked",
    "x-a: y\rtransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: identity",
    "transfer-encoding: identity\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "transfer-encoding:",
    "transfer-encoding: ,chunked",
    "transfer-encoding: chunked,",
    "transfer-encoding: identity",
    "transfer-encoding: cow",
    "te: chunked",
    "transfer-encoding: chunked\u{a0}",
    "transfer-encoding: \u{feff}chunked",
    "x-transfer-encoding: chunked",
    "transfer-encoding: deflate",
    "transfer-encoding: \tchunked",
    "tRANSFER-ENCODING: cHUNKED",
    "transfer-encoding:chunked\r\ncontent-length: {n}",
];

/// Spellings of a chunk's size; `{h}` is the true one in hexadecimal.
const SIZES: &[&str] = &[
    "{h}",
    "0{h}",
    "0000000000000000000{h}",
    "+{h}",
    "-{h}",
    "0x{h}",
    "0X{h}",
    "{h} ",
    "{h}\t",
    " {h}",
    "{h};a",
    "{h};a=b",
    "{h};a=\"b;c\"",
    "{h} ;a",
    "{h};a\nb",
    "{h};a\rb",
    "{h}\n",
    "{h}\r",
    "ffffffffffffffff{h}",
    "1000000000000000{h}",
    "10000000000000000{h}",
    "{h}g",
    "",
    "{h}.0",
    "{h},{h}",
    "{h}\0",
    "{h};\0",
    "{h}h",
    "\r\n{h}",
    "{h}_0",
    "{h};\u{7f}",
    "7fffffffffffffff",
    "8000000000000000",
];

/// Trailer lines.
const TRAILERS: &[&str] = &[
    "x-sum: 1",
    "content-length: 5",
    "transfer-encoding: chunked",
    "host: evil.example",
    "bad name: x",
    " folded: x",
    "nothing",
    ": x",
    "x-a: b\nx-c: d",
    "x-a: b\rx-c: d",
    "x-a: b\0",
    "x-a : b",
    "connection: close",
    "trailer: x-a",
    "authorization: x",
];

/// Other header lines that somebody may read in two ways.
const ODD_FIELDS: &[&str] = &[
    "x-a: b",
    "x-a:",
    "x-a: b\r\n c",
    "x-a : b",
    "x a: b",
    "x-a\t: b",
    ": b",
    "nothing",
    "x-a: b\0c",
    "x-a: b\nx-evil: 1",
    "x-a: b\rx-evil: 1",
    "x-a: \u{1}",
    "x-a: \u{e9}",
    "connection: close",
    "connection: keep-alive",
    "connection: content-length",
    "connection: transfer-encoding, host",
    "connection: keep-alive, x-a",
    "keep-alive: timeout=5",
    "proxy-connection: keep-alive",
    "upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQAoAAA",
    "upgrade: websocket\r\nconnection: upgrade",
    "expect: 100-continue",
    "expect: 200-ok",
    "te: trailers",
    "te: gzip, chunked",
    "trailer: content-length",
    "host: evil.example",
    "host: 127.0.0.1",
    "x-forwarded-for: 1",
    "x(a): b",
    "x-a;: b",
    "\"x\": b",
    "x-a: b\r",
    "x-http-method-override: DELETE",
    "x-a: b\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: 127.0.0.1",
];

/// Line ends in place of CR LF.
const ENDS: &[&str] = &["\n", "\r", "\r\r\n", "\n\r", " \r\n", "\0\r\n", "\r\n\r\n", ""];

const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"];

const VERSIONS: &[&str] = &[
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "HTTP/0.9",
    "HTTP/1.1 ",
    "http/1.1",
    "HTTP/1.10",
    "HTTP/01.1",
    "HTTP/1,1",
    "",
    "HTTP/1.1\0",
    "HTTP/1",
    "ICY",
];

/// A stream of requests under the tag `/smug/NUMBER/`.
pub(super) struct Stream {
    pub(super) bytes: Vec<u8>,
    /// Made by the grammar without a fault: it must be served whole.
    pub(super) is_plain: bool,
}

/// The stream of a number: the same for the same seed.
pub(super) fn stream(seed: u64, number: u64) -> (Stream, Random) {
    let mut random = Random::new(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let is_plain = random.below(4) == 0;
    let mut bytes = Vec::new();
    for at in 0..=random.below(3) {
        let faults = if is_plain { 0 } else { random.below(3) };
        let head = Shape { tag: format!("/smug/{number}/{at}"), evil: format!("/smug/{number}/evil"), faults };
        bytes.extend(head.request(&mut random));
    }
    if !is_plain && random.below(3) == 0 {
        for _ in 0..=random.below(2) {
            scratch(&mut random, &mut bytes);
        }
    }
    (Stream { bytes, is_plain }, random)
}

fn pick<'a>(random: &mut Random, from: &[&'a str]) -> &'a str {
    from.get(index(random, from.len())).copied().unwrap_or_default()
}

fn index(random: &mut Random, length: usize) -> usize {
    usize::try_from(random.below(length as u64)).unwrap_or_default()
}

/// Changes one byte, or a line end.
fn scratch(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = index(random, bytes.len());
    let sharp = SHARP.get(index(random, SHARP.len())).copied().unwrap_or_default();
    match random.below(6) {
        0 => bytes.splice(at..=at, [sharp]).for_each(drop),
        1 => bytes.insert(at, sharp),
        2 => drop(bytes.remove(at)),
        3 => bytes.truncate(at),
        4 => {
            let copy = bytes.get(at..(at + 1 + index(random, 40)).min(bytes.len())).unwrap_or_default().to_vec();
            bytes.splice(at..at, copy).for_each(drop);
        }
        _ => {
            let ends: Vec<usize> = bytes.windows(2).enumerate().filter(|(_, pair)| *pair == b"\r\n").map(|(at, _)| at).collect();
            if let Some(end) = ends.get(index(random, ends.len())).copied() {
                bytes.splice(end..end + 2, pick(random, ENDS).bytes()).for_each(drop);
            }
        }
    }
}

/// One request to be written.
struct Shape {
    tag: String,
    /// The target of a request that must never be seen: it stands in bodies.
    evil: String,
    faults: u64,
}

/// Places for a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Length,
    Coding,
    Both,
    Size,
    ChunkEnd,
    Trailer,
    Field,
    Line,
    Host,
    Body,
}

const PLACES: [Place; 10] =
    [Place::Length, Place::Coding, Place::Both, Place::Size, Place::ChunkEnd, Place::Trailer, Place::Field, Place::Line, Place::Host, Place::Body];

impl Shape {
    fn request(&self, random: &mut Random) -> Vec<u8> {
        let places: Vec<Place> = (0..self.faults).filter_map(|_| PLACES.get(index(random, PLACES.len())).copied()).collect();
        let has = |place: Place| places.contains(&place);
        let method = pick(random, METHODS);
        let body = self.body(random);
        let is_chunked = has(Place::Coding) || has(Place::Size) || has(Place::ChunkEnd) || has(Place::Trailer) || random.below(2) == 0;
        let mut text = self.line(random, method, has(Place::Line));
        text.push_str(Self::host(random, has(Place::Host)));
        for _ in 0..random.below(3) {
            text.push_str("x-note: plain text, 5\r\n");
        }
        if has(Place::Field) {
            text.push_str(pick(random, ODD_FIELDS));
            text.push_str("\r\n");
        }
        let written = if is_chunked { chunks(random, &body, &places) } else { body.clone() };
        let (n, m) = (written.len(), written.len() + 1 + index(random, 4));
        let with = |spelling: &str| format!("{}\r\n", spelling.replace("{n}", &n.to_string()).replace("{m}", &m.to_string()));
        let mut framing = Vec::new();
        if is_chunked {
            framing.push(with(if has(Place::Coding) { pick(random, CODINGS) } else { "transfer-encoding: chunked" }));
        } else if !written.is_empty() || random.below(4) == 0 {
            framing.push(with(if has(Place::Length) { pick(random, LENGTHS) } else { "content-length: {n}" }));
        }
        if has(Place::Both) {
            let other = if random.below(2) == 0 { pick(random, LENGTHS) } else { pick(random, CODINGS) };
            framing.insert(index(random, framing.len() + 1), with(other));
        }
        text.extend(framing);
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend(written);
        if has(Place::Body) {
            // One byte too many, or a request that nobody announced.
            bytes.extend_from_slice(if random.below(2) == 0 { b"x".as_slice() } else { b"GET /smuggled HTTP/1.1\r\nx: " });
        }
        bytes
    }

    /// Nothing, a few bytes, or a request.
    fn body(&self, random: &mut Random) -> Vec<u8> {
        match random.below(4) {
            0 => Vec::new(),
            1 => b"0\r\n\r\n".to_vec(),
            2 => b"a=1&b=2".to_vec(),
            _ => format!("GET {} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-evil: 1\r\n\r\n", self.evil).into_bytes(),
        }
    }

    fn line(&self, random: &mut Random, method: &str, is_odd: bool) -> String {
        let tag = &self.tag;
        if !is_odd {
            return format!("{method} {tag} HTTP/1.1\r\n");
        }
        match random.below(14) {
            0 => format!("{method} {tag} {}\r\n", pick(random, VERSIONS)),
            1 => format!("{method}  {tag} HTTP/1.1\r\n"),
            2 => format!("{method}\t{tag}\tHTTP/1.1\r\n"),
            3 => format!(" {method} {tag} HTTP/1.1\r\n"),
            4 => format!("\r\n{method} {tag} HTTP/1.1\r\n"),
            5 => format!("{method} http://127.0.0.1{tag} HTTP/1.1\r\n"),
            6 => format!("{method} http://evil.example{tag} HTTP/1.1\r\n"),
            7 => format!("{method} {tag}?a=b&c HTTP/1.1\r\n"),
            8 => format!("{method} {tag}\r HTTP/1.1\r\n"),
            9 => format!("{method} {tag}\0 HTTP/1.1\r\n"),
            10 => format!("{method} {tag} HTTP/1.1\r\nx-b: 1 HTTP/1.1\r\n"),
            11 => format!("{method} {tag}#frag HTTP/1.1\r\n"),
            12 => format!("{method}{tag} HTTP/1.1\r\n"),
            _ => format!("{} {tag} HTTP/1.1\n", method.to_ascii_lowercase()),
        }
    }

    fn host(random: &mut Random, is_odd: bool) -> &'static str {
        const HOSTS: [&str; 12] = [
            "",
            "host: 127.0.0.1\r\nhost: 127.0.0.1\r\n",
            "host: 127.0.0.1\r\nhost: evil.example\r\n",
            "host:\r\n",
            "host: 127.0.0.1:443\r\n",
            "host : 127.0.0.1\r\n",
            "host: user@127.0.0.1\r\n",
            "host: 127.0.0.1, evil.example\r\n",
            "host: 127.0.0.1\nhost: evil.example\r\n",
            "host:\r\n 127.0.0.1\r\n",
            "host: 127.0.0.1/evil\r\n",
            "Host: 127.0.0.1\r\nhOST: 127.0.0.1\r\n",
        ];
        if is_odd { pick(random, &HOSTS) } else { "host: 127.0.0.1\r\n" }
    }
}

fn chunks(random: &mut Random, body: &[u8], places: &[Place]) -> Vec<u8> {
    let mut out = Vec::new();
    let size_of = |random: &mut Random, length: usize, is_odd: bool| {
        let spelling = if is_odd { pick(random, SIZES) } else { pick(random, &["{h}", "{h}", "0{h}", "{h};a=b"]) };
        spelling.replace("{h}", &format!("{length:x}"))
    };
    let mut rest = body;
    let mut faulty = places.contains(&Place::Size);
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(1 + index(random, rest.len()));
        let is_odd = faulty && random.below(2) == 0;
        faulty &= !is_odd;
        out.extend(size_of(random, piece.len(), is_odd).into_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(piece);
        let is_odd = places.contains(&Place::ChunkEnd) && random.below(2) == 0;
        out.extend_from_slice(if is_odd { pick(random, &["\n", "", "\r", "x\r\n", "\r\n\r\n", "\0\0"]) } else { "\r\n" }.as_bytes());
        rest = behind;
    }
    out.extend(size_of(random, 0, faulty).into_bytes());
    out.extend_from_slice(b"\r\n");
    if places.contains(&Place::Trailer) {
        out.extend_from_slice(pick(random, TRAILERS).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Where the bytes are cut into writes: mostly nowhere, sometimes anywhere, now and then everywhere.
pub(super) fn pieces(random: &mut Random, length: usize) -> Vec<usize> {
    match random.below(50) {
        0 if length < 300 => (1..length).collect(),
        0..10 => {
            let mut cuts: Vec<usize> = (0..=random.below(3)).map(|_| index(random, length)).collect();
            cuts.sort_unstable();
            cuts
        }
        _ => Vec::new(),
    }
}
