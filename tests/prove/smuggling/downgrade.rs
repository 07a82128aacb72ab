//! HTTP/2 requests that become HTTP/1.1 ones: what a malformed one holds must not become a request, or a part of one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use harness::seed::Random;
use tokio::time::timeout;

use super::reader::{self, Request, is_text, is_token};
use super::recorder::{Book, Expected};
use crate::claim::{Context, Verdict};
use crate::figures::share;
use crate::ground::Door;
use harness::frames::{DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM, block, frame, is_200};

/// Numbers of these requests begin here, so that they do not meet those of the streams.
const FIRST: u64 = 1 << 40;
/// Requests under way on one connection.
const AT_ONCE: usize = 40;
/// How long the gateway may take for a batch.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);

/// Field lines, lawful or not.
const FIELDS: &[(&[u8], &[u8])] = &[
    (b"x-a", b"b\r\nx-evil: 1"),
    (b"x-a", b"b\nx-evil: 1"),
    (b"x-a", b"b\rx-evil: 1"),
    (b"x-a", b"b\0c"),
    (b"x-a", b"b\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"),
    (b"x-a", b"\r\n"),
    (b"x-a", b"\x01"),
    (b"x-a", b"\x7f"),
    (b"x-a", b""),
    (b"x-a", b" b "),
    (b"x-a", b"\tb"),
    (b"x-a", b"\xff"),
    (b"x a", b"b"),
    (b"x-a:", b"b"),
    (b"x-evil: 1\r\nx-a", b"b"),
    (b"x-a\r\nx-evil", b"1"),
    (b"x-a\0", b"b"),
    (b"X-A", b"b"),
    (b"", b"b"),
    (b" x-a", b"b"),
    (b"x-a ", b"b"),
    (b"\x80", b"b"),
    (b"transfer-encoding", b"chunked"),
    (b"transfer-encoding", b"identity"),
    (b"transfer-encoding", b""),
    (b"Transfer-Encoding", b"chunked"),
    (b"transfer_encoding", b"chunked"),
    (b"transfer-encoding ", b"chunked"),
    (b"transfer-encoding:chunked\r\nx-a", b"b"),
    (b"connection", b"close"),
    (b"connection", b"content-length"),
    (b"connection", b"transfer-encoding"),
    (b"keep-alive", b"timeout=5"),
    (b"proxy-connection", b"keep-alive"),
    (b"upgrade", b"websocket"),
    (b"upgrade", b"h2c"),
    (b"te", b"trailers"),
    (b"te", b"gzip, chunked"),
    (b"content-length", b"0"),
    (b"content-length", b"3"),
    (b"content-length", b"300"),
    (b"content-length", b"+3"),
    (b"content-length", b"-1"),
    (b"content-length", b"0x3"),
    (b"content-length", b"3, 3"),
    (b"content-length", b""),
    (b"content-length", b"18446744073709551616"),
    (b"content-length ", b"3"),
    (b"content_length", b"3"),
    (b"content-length", b"3\r\nx-evil: 1"),
    (b"host", b"127.0.0.1"),
    (b"host", b"evil.example"),
    (b"host", b"127.0.0.1\r\nx-evil: 1"),
    (b"expect", b"100-continue"),
    (b"trailer", b"content-length"),
    (b"cookie", b"a=1"),
    (b":path", b"/smuggled"),
    (b":method", b"GET"),
    (b":authority", b"evil.example"),
    (b":protocol", b"websocket"),
    (b":status", b"200"),
    (b":unknown", b"x"),
    (b"x-http2-settings", b"a"),
];

/// Replaced pseudo-header fields. `{tag}` is the request's path.
const PSEUDO: &[(&[u8], &str)] = &[
    (b":path", "{tag} HTTP/1.1\r\nx-evil: 1\r\nx: y"),
    (b":path", "{tag}\r\nx-evil: 1"),
    (b":path", "{tag}\n"),
    (b":path", "{tag} x"),
    (b":path", "{tag}\0"),
    (b":path", ""),
    (b":path", "smuggled"),
    (b":path", "*"),
    (b":path", "{tag}?a b"),
    (b":path", "{tag}\t"),
    (b":path", "http://127.0.0.1{tag}"),
    (b":path", "{tag}#frag"),
    (b":path", "{tag}\u{7f}"),
    (b":path", "//evil{tag}"),
    (b":method", "GET {tag}/evil HTTP/1.1\r\nhost: x\r\n\r\nGET"),
    (b":method", "GET /smuggled"),
    (b":method", ""),
    (b":method", "get"),
    (b":method", "G\r\nT"),
    (b":method", "CONNECT"),
    (b":method", "GET\0"),
    (b":scheme", "http"),
    (b":scheme", ""),
    (b":scheme", "https://x\r\nx-evil: 1"),
    (b":scheme", "ht tp"),
    (b":scheme", "ftp"),
    (b":authority", ""),
    (b":authority", "evil.example"),
    (b":authority", "127.0.0.1\r\nx-evil: 1"),
    (b":authority", "127.0.0.1/evil"),
    (b":authority", "user@127.0.0.1"),
    (b":authority", "127.0.0.1:443"),
    (b":authority", "127.0.0.1 "),
    (b":authority", "127.0.0.1,evil.example"),
];

/// One request, and what it means.
struct Made {
    frames: Vec<u8>,
    expected: Expected,
    is_lawful: bool,
}

/// Sends `n` requests, on new connections whenever one ends.
pub(super) async fn run(context: &mut Context, verdict: &mut Verdict, door: &Door, book: &Arc<Book>, n: u64) -> Result<()> {
    let (mut lawful, mut served, mut connections, mut late) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut number = 0;
    while number < n {
        connections += 1;
        let mut frames = door.frames(&[]).await?;
        let mut stream = 1_u32;
        let mut is_open = true;
        while is_open && number < n && stream < 20_000 {
            // Lawful requests and others by turns of many: an ill one may end the connection, and would take its neighbors along.
            let batch = if context.random.below(2) == 0 { AT_ONCE } else { 1 };
            let mut under_way = HashMap::new();
            for _ in 0..batch {
                let made = make(context.seed, context.from.saturating_add(number), stream, batch > 1);
                book.expected().insert(FIRST + context.from.saturating_add(number), made.expected);
                number += 1;
                lawful += u64::from(made.is_lawful && batch > 1);
                is_open &= frames.send(made.frames).await;
                under_way.insert(stream, made.is_lawful && batch > 1);
                stream += 2;
            }
            if let Ok((open, found)) = timeout(ANSWERS_WITHIN, answers(&mut frames, &mut under_way)).await {
                is_open &= open;
                served += found;
            } else {
                late += 1;
                is_open = false;
            }
        }
    }
    verdict.trials_of(n, late, || format!("{late} batches of HTTP/2 requests had no end in time"));
    // A retried request may be lost with its connection only where an ill one ended it, which happens in batches of one.
    verdict.trial(served == lawful, || format!("{served} of {lawful} lawful HTTP/2 requests were served"));
    verdict.figure("h2_connections", connections);
    verdict.figure("h2_lawful", lawful);
    verdict.figure("h2_lawful_share", share(served, lawful));
    Ok(())
}

/// Reads until no request is under way; whether the connection goes on, and how many lawful ones were answered 200.
async fn answers(frames: &mut Frames, under_way: &mut HashMap<u32, bool>) -> (bool, u64) {
    let mut served = 0;
    while !under_way.is_empty() {
        let Some(frame) = frames.next().await else { return (false, served) };
        if frame.kind == GOAWAY {
            return (false, served);
        }
        if frame.kind == HEADERS && is_200(&frame.payload) && under_way.get(&frame.stream) == Some(&true) {
            served += 1;
        }
        if frame.kind == RST_STREAM || matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
            under_way.remove(&frame.stream);
        }
    }
    (true, served)
}

type Owned = (Vec<u8>, Vec<u8>);

/// The request of a number: the same for the same seed.
fn make(seed: u64, number: u64, stream: u32, is_plain: bool) -> Made {
    let mut random = Random::new(seed ^ (FIRST + number).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let tag = format!("/smug/{}/0", FIRST + number);
    let methods = ["GET", "POST", "PUT", "HEAD", "DELETE"];
    let method = methods.get(below(&mut random, methods.len())).copied().unwrap_or("GET");
    let pair = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
    let mut fields: Vec<Owned> = vec![
        pair(b":method", method.as_bytes()),
        pair(b":scheme", b"https"),
        pair(b":authority", b"127.0.0.1"),
        pair(b":path", tag.as_bytes()),
        pair(b"x-note", b"plain"),
    ];
    let body = match random.below(3) {
        0 => Vec::new(),
        1 => b"a=1".to_vec(),
        _ => format!("GET /smug/{}/evil HTTP/1.1\r\nhost: 127.0.0.1\r\nx-evil: 1\r\n\r\n", FIRST + number).into_bytes(),
    };
    if is_plain {
        if random.below(2) == 0 {
            fields.push(pair(b"content-length", body.len().to_string().as_bytes()));
        }
    } else {
        spoil(&mut random, &mut fields, &tag);
    }
    let lawful = meaning(&fields, &body);
    let is_lawful = lawful.is_some();
    // A request that breaks off shows the method as it was sent, scratched or not.
    let sent = fields.iter().find(|(name, _)| name == b":method").map(|(_, value)| String::from_utf8_lossy(value).into_owned());
    let partial = Request {
        method: sent.unwrap_or_else(|| method.to_owned()),
        path: tag,
        body: body.clone(),
        fields: Vec::new(),
        is_bad: false,
        is_last: false,
    };
    let borrowed: Vec<(&[u8], &[u8])> = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    let (frames, is_continued) = written(&mut random, stream, &block(&borrowed), &body);
    let read = lawful.or_else(|| if is_continued { meaning(&without_dropped(&fields), &body) } else { None });
    let expected = Expected { requests: read.into_iter().collect(), partial: Some(partial), next: 0, sent: frames.clone() };
    Made { frames, expected, is_lawful }
}

fn below(random: &mut Random, length: usize) -> usize {
    usize::try_from(random.below(length as u64)).unwrap_or_default()
}

/// One or two faults, or what looks like one.
fn spoil(random: &mut Random, fields: &mut Vec<Owned>, tag: &str) {
    for _ in 0..=random.below(2) {
        if random.below(3) == 0 {
            let Some((name, value)) = PSEUDO.get(below(random, PSEUDO.len())) else { continue };
            if let Some(field) = fields.iter_mut().find(|(n, _)| n == name) {
                field.1 = value.replace("{tag}", tag).into_bytes();
            }
        } else if let Some((name, value)) = FIELDS.get(below(random, FIELDS.len())) {
            let at = below(random, fields.len() + 1);
            fields.insert(if random.below(2) == 0 { at } else { fields.len() }, (name.to_vec(), value.to_vec()));
        }
    }
    if random.below(12) == 0 {
        fields.remove(below(random, 4.min(fields.len())));
    }
}

/// What is left when everything is dropped that belongs to a connection or has no name, and pseudo-header fields that stand twice or
/// too late.
///
/// The codec forgets that a head was malformed when a CONTINUATION follows, but it has dropped what made it so: then the service
/// gets the rest, which is harmless, and no more (docs/conformance.md).
fn without_dropped(fields: &[Owned]) -> Vec<Owned> {
    let (mut is_regular, mut seen, mut left) = (false, Vec::new(), Vec::new());
    for (name, value) in fields {
        let is_dropped = match name.as_slice() {
            b"" | b"connection" | b"transfer-encoding" | b"upgrade" | b"keep-alive" | b"proxy-connection" => true,
            b"te" => value != b"trailers",
            [b':', ..] => is_regular || seen.contains(&name),
            _ => {
                is_regular = true;
                false
            }
        };
        seen.push(name);
        if !is_dropped {
            left.push((name.clone(), value.clone()));
        }
    }
    left
}

/// HEADERS, perhaps in CONTINUATIONs, and DATA in pieces; whether there is a CONTINUATION.
fn written(random: &mut Random, stream: u32, block: &[u8], body: &[u8]) -> (Vec<u8>, bool) {
    let ends = if body.is_empty() { END_STREAM } else { 0 };
    let is_continued = random.below(4) == 0;
    let mut out = if is_continued {
        let (first, rest) = block.split_at(below(random, block.len()));
        [frame(HEADERS, ends, stream, first), frame(harness::frames::CONTINUATION, END_HEADERS, stream, rest)].concat()
    } else {
        frame(HEADERS, END_HEADERS | ends, stream, block)
    };
    let mut rest = body;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(1 + below(random, rest.len()));
        out.extend(frame(DATA, if behind.is_empty() { END_STREAM } else { 0 }, stream, piece));
        rest = behind;
    }
    (out, is_continued)
}

/// The request that the fields are, by RFC 9113 sections 8.1.1 to 8.3.1; `None` when they are malformed.
fn meaning(fields: &[Owned], body: &[u8]) -> Option<Request> {
    let mut is_regular = false;
    let mut pseudo = HashMap::new();
    let mut lengths = 0;
    for (name, value) in fields {
        // CR, LF and NUL are named by the RFC; a program that refuses other control bytes too may do so.
        if value.iter().any(|byte| !is_text(*byte)) {
            return None;
        }
        let text = String::from_utf8_lossy(value).into_owned();
        if let Some(name) = name.strip_prefix(b":") {
            let is_known = matches!(name, b"method" | b"scheme" | b"authority" | b"path");
            if is_regular || !is_known || pseudo.insert(name.to_vec(), text).is_some() {
                return None;
            }
            continue;
        }
        is_regular = true;
        if !is_token(name) || name.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        match name.as_slice() {
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => return None,
            b"te" if text != "trailers" => return None,
            b"content-length" => {
                lengths += 1;
                let is_true = text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse() == Ok(body.len());
                if lengths > 1 || !is_true {
                    return None;
                }
            }
            _ => {}
        }
    }
    let method = pseudo.get(b"method".as_slice()).filter(|method| is_token(method.as_bytes()))?;
    let path = pseudo.get(b"path".as_slice()).filter(|path| path.starts_with('/') && path.bytes().all(|byte| (0x21..0x7f).contains(&byte)))?;
    pseudo.get(b"scheme".as_slice()).filter(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !scheme.is_empty())?;
    Some(Request {
        method: method.clone(),
        path: reader::path(path).to_owned(),
        body: body.to_vec(),
        fields: Vec::new(),
        is_bad: false,
        is_last: false,
    })
}
