//! The attacks, one connection each.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, timeout};

use crate::ground::Door;
use harness::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame,
    integer, is_200, request,
};

/// How long an attacker goes on that is not thrown out.
const LASTS: Duration = Duration::from_millis(1_500);
/// How long one is given that must be thrown out; the deadline for clients that do not read is 2 s here, looked at once a second.
const THROWN_OUT_WITHIN: Duration = Duration::from_secs(8);
/// Streams opened with one write.
const BURST: u32 = 100;

/// Whether the gateway must end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Must,
    /// It may also bear it, as long as that costs nothing.
    May,
}

/// Whether the attacker reads what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Yes,
    No,
}

/// One kind of attack.
#[derive(Debug)]
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) ends: Ends,
    reads: Reads,
    /// Bytes of a round, whose first free stream is given; how many frames, and the next free stream.
    round: fn(u32) -> Round,
    /// Whether no stream of it may be answered 200.
    is_unlawful: bool,
}

struct Round {
    bytes: Vec<u8>,
    frames: u64,
    next: u32,
}

/// What became of one attacker.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The gateway has ended the connection.
    pub(super) ended: bool,
    /// The error code of its GOAWAY.
    pub(super) goaway: Option<u32>,
    pub(super) frames: u64,
    /// Streams that the gateway has reset.
    resets: u64,
    /// Nothing was served that must not be.
    pub(super) is_lawful: bool,
}

const fn attack(name: &'static str, ends: Ends, round: fn(u32) -> Round) -> Attack {
    Attack { name, ends, reads: Reads::Yes, round, is_unlawful: false }
}

const fn deaf(name: &'static str, round: fn(u32) -> Round) -> Attack {
    Attack { name, ends: Ends::Must, reads: Reads::No, round, is_unlawful: false }
}

pub(super) const ATTACKS: &[Attack] = &[
    // CVE-2023-44487
    attack("rapid-reset", Ends::Must, |first| streams(first, |id| vec![get(id), reset(id)])),
    attack("reset-with-body", Ends::Must, |first| streams(first, |id| vec![post(id), frame(DATA, 0, id, b"half"), reset(id)])),
    deaf("rapid-reset-deaf", |first| streams(first, |id| vec![get(id), reset(id)])),
    // CVE-2025-8671: the server is made to reset
    attack("window-overflow", Ends::Must, |first| streams(first, |id| vec![post(id), window(id, 0x7fff_ffff)])),
    attack("window-zero", Ends::Must, |first| streams(first, |id| vec![post(id), window(id, 0)])),
    attack("data-after-end", Ends::Must, |first| streams(first, |id| vec![get(id), frame(DATA, 0, id, b"late")])),
    attack("headers-after-end", Ends::Must, |first| streams(first, |id| vec![get(id), get(id)])),
    attack("length-mismatch", Ends::Must, |first| streams(first, |id| vec![post_of(id, "5"), frame(DATA, END_STREAM, id, b"12345678")])),
    attack("priority-of-itself", Ends::May, |first| {
        streams(first, |id| vec![get(id), frame(PRIORITY, 0, id, &[&id.to_be_bytes()[..], &[0]].concat())])
    }),
    attack("priority-too-short", Ends::Must, |first| streams(first, |id| vec![get(id), frame(PRIORITY, 0, id, &[0, 0, 0, 0])])),
    // Floods
    Attack { is_unlawful: true, ..attack("continuation-flood", Ends::Must, continuations) },
    Attack { is_unlawful: true, ..attack("continuation-empty", Ends::Must, empty_continuations) },
    Attack { is_unlawful: true, ..attack("header-list-bomb", Ends::May, |first| streams(first, |id| vec![bomb(id)])) },
    Attack { is_unlawful: true, ..attack("header-list-long", Ends::May, |first| streams(first, |id| vec![long(id)])) },
    attack("settings-flood", Ends::Must, |first| repeat(first, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]))),
    attack("ping-flood", Ends::Must, |first| repeat(first, &frame(PING, 0, 0, &[7; 8]))),
    attack("window-flood", Ends::Must, |first| repeat(first, &window(0, 1))),
    attack("priority-flood", Ends::Must, |first| repeat(first, &frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 7]))),
    deaf("settings-flood-deaf", |first| repeat(first, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]))),
    deaf("ping-flood-deaf", |first| repeat(first, &frame(PING, 0, 0, &[7; 8]))),
    attack("empty-data", Ends::Must, empty_data),
    attack("unknown-frames", Ends::Must, |first| repeat(first, &frame(0xbe, 0, 0, &[0; 64]))),
    deaf("requests-deaf", |first| streams(first, |id| vec![get(id)])),
];

impl Attack {
    /// One attacker, until it is thrown out or has had its time.
    pub(super) async fn run(&self, door: &Door) -> Result<Outcome> {
        let mut outcome = Outcome { is_lawful: true, ..Outcome::default() };
        let mut connection = door.frames(&[]).await?;
        let began = Instant::now();
        let limit = if self.ends == Ends::Must { THROWN_OUT_WITHIN } else { LASTS };
        let mut stream = 1;
        while began.elapsed() < limit && stream < 0x7fff_0000 {
            let round = (self.round)(stream);
            stream = round.next;
            outcome.frames += round.frames;
            let sent = timeout(limit.saturating_sub(began.elapsed()), connection.send(round.bytes)).await;
            if sent != Ok(true) {
                break;
            }
            if self.reads == Reads::Yes && !self.look(&mut connection, &mut outcome, Duration::from_millis(1)).await {
                return Ok(outcome);
            }
        }
        // Ended or not: what lies in the socket says why.
        let rest = if self.ends == Ends::Must { THROWN_OUT_WITHIN.saturating_sub(began.elapsed()) } else { Duration::ZERO };
        let until_end = async { while self.look(&mut connection, &mut outcome, Duration::from_millis(500)).await {} };
        if timeout(rest.max(Duration::from_millis(600)), until_end).await.is_err() {
            outcome.ended = false;
        }
        Ok(outcome)
    }

    /// Reads what has come; whether the connection goes on.
    async fn look(&self, connection: &mut Frames, outcome: &mut Outcome, limit: Duration) -> bool {
        let Some(frames) = connection.drain(limit).await else {
            outcome.ended = true;
            return false;
        };
        for frame in frames {
            self.note(&frame, outcome);
        }
        // A GOAWAY with an error is the end, however long the socket lingers.
        if outcome.goaway.is_some_and(|code| code != 0) {
            outcome.ended = true;
            return false;
        }
        true
    }

    fn note(&self, frame: &Frame, outcome: &mut Outcome) {
        match frame.kind {
            GOAWAY => outcome.goaway = frame.payload.get(4..8).and_then(|code| code.try_into().ok()).map(u32::from_be_bytes),
            RST_STREAM => outcome.resets += 1,
            HEADERS if self.is_unlawful && is_200(&frame.payload) => outcome.is_lawful = false,
            _ => {}
        }
    }
}

fn get(id: u32) -> Vec<u8> {
    request(id, "GET", "/prey/x", END_STREAM)
}

fn post(id: u32) -> Vec<u8> {
    request(id, "POST", "/prey/x", 0)
}

fn post_of(id: u32, length: &str) -> Vec<u8> {
    let fields: [(&[u8], &[u8]); 5] = [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"127.0.0.1"),
        (b":path", b"/prey/x"),
        (b"content-length", length.as_bytes()),
    ];
    frame(HEADERS, END_HEADERS, id, &block(&fields))
}

/// CANCEL.
fn reset(id: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())
}

fn window(id: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, id, &more.to_be_bytes())
}

fn streams(first: u32, each: impl Fn(u32) -> Vec<Vec<u8>>) -> Round {
    let mut round = Round { bytes: Vec::new(), frames: 0, next: first };
    for _ in 0..BURST {
        for frame in each(round.next) {
            round.bytes.extend(frame);
            round.frames += 1;
        }
        round.next += 2;
    }
    round
}

fn repeat(first: u32, frame: &[u8]) -> Round {
    Round { bytes: frame.repeat(1_000), frames: 1_000, next: first }
}

/// A header block that never ends, 1 KiB a frame. The stream stays the same: any other frame would break the rules at once.
fn continuations(first: u32) -> Round {
    let field = block(&[(b"x-flood", [b'a'; 1_000].as_slice())]);
    let mut round = repeat(first, &frame(CONTINUATION, 0, 1, &field));
    if first == 1 {
        round.bytes = [frame(HEADERS, 0, 1, &block(&[(b":method", b"GET")])), round.bytes].concat();
        round.next = 3;
    }
    round
}

fn empty_continuations(first: u32) -> Round {
    let mut round = repeat(first, &frame(CONTINUATION, 0, 1, &[]));
    if first == 1 {
        round.bytes = [frame(HEADERS, 0, 1, &block(&[(b":method", b"GET")])), round.bytes].concat();
        round.next = 3;
    }
    round
}

fn empty_data(first: u32) -> Round {
    let mut round = repeat(first, &frame(DATA, 0, 1, &[]));
    if first == 1 {
        round.bytes = [post(1), round.bytes].concat();
        round.next = 3;
    }
    round
}

fn pseudo() -> Vec<u8> {
    block(&[(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"127.0.0.1"), (b":path", b"/prey/x")])
}

/// One entry of 4,000 bytes in the table, and 10,000 references to it: 40 MB for 14 KB (RFC 7541 section 7.3).
fn bomb(id: u32) -> Vec<u8> {
    let mut fields = pseudo();
    fields.extend([0x40, 1, b'a']);
    integer(&mut fields, 4_000, 7, 0);
    fields.extend([b'b'; 4_000]);
    fields.extend([0xbe; 10_000]);
    frame(HEADERS, END_HEADERS | END_STREAM, id, &fields)
}

/// A header list of 60 KB in four frames.
fn long(id: u32) -> Vec<u8> {
    let piece = block(&[(b"x-long", [b'a'; 15_000].as_slice())]);
    let first = frame(HEADERS, END_STREAM, id, &pseudo());
    [first, frame(CONTINUATION, 0, id, &piece).repeat(3), frame(CONTINUATION, END_HEADERS, id, &piece)].concat()
}
