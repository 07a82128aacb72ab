//! RFC 9113 sections 5.2 and 6.5 to 6.9: settings, pings, the last words, windows.

use super::{Case, Expect, Step, code, must, send};
use crate::conformance::Found;
use crate::frames::{END_HEADERS, GOAWAY, PING, SETTINGS, WINDOW_UPDATE, frame};

const PUSH_PROMISE: u8 = 5;
const PROTOCOL: Expect = Expect::Connection(&[code::PROTOCOL]);
const SIZE: Expect = Expect::Connection(&[code::SIZE]);
const FLOW: Expect = Expect::Connection(&[code::FLOW]);

/// A SETTINGS frame.
fn set(pairs: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = pairs.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

fn acknowledges_all(seen: &super::Seen) -> Found {
    match seen.acks {
        4 => Found::Kept,
        n => Found::Broken(format!("{n} acknowledgements of 4 SETTINGS")),
    }
}

fn echoes(seen: &super::Seen) -> Found {
    if seen.pongs.iter().any(|payload| payload == b"\x00echo\xffme") {
        Found::Kept
    } else {
        Found::Broken("another payload came back, or none".into())
    }
}

fn says_nothing(seen: &super::Seen) -> Found {
    match seen.pongs.len() {
        1 if !seen.is_gone() => Found::Kept,
        _ => Found::Broken(format!("{} answers to one PING{}", seen.pongs.len(), seen.told())),
    }
}

/// No more than so many bytes of the body of stream 1 may have come.
macro_rules! at_most {
    ($bytes:literal) => {
        Expect::Judge(|seen| match seen.body(1) {
            $bytes => Found::Kept,
            other => Found::Broken(format!("{other} bytes for a window of {}{}", $bytes, seen.told())),
        })
    };
}

pub(super) fn cases() -> Vec<Case> {
    [settings(), pings(), last_words(), windows()].into_iter().flatten().collect()
}

fn settings() -> Vec<Case> {
    vec![
        must("9113-6.5", "each SETTINGS frame is acknowledged", |_| send([set(&[]), set(&[(3, 100)]), set(&[])]), Expect::Judge(acknowledges_all)),
        must("9113-6.5", "an acknowledgement with a payload ends the connection", |_| send([frame(SETTINGS, 1, 0, &[0, 3, 0, 0, 0, 1])]), SIZE),
        must("9113-6.5", "SETTINGS on a stream end the connection", |_| send([frame(SETTINGS, 0, 1, &[])]), PROTOCOL),
        must("9113-6.5", "SETTINGS of a wrong length end the connection", |_| send([frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0])]), SIZE),
        must("9113-6.5.2", "ENABLE_PUSH is 0 or 1", |_| send([set(&[(2, 2)])]), PROTOCOL),
        must("9113-6.5.2", "INITIAL_WINDOW_SIZE is at most 2^31-1", |_| send([set(&[(4, 0x8000_0000)])]), FLOW),
        must("9113-6.5.2", "MAX_FRAME_SIZE is at least 2^14", |_| send([set(&[(5, 16_383)])]), PROTOCOL),
        must("9113-6.5.2", "MAX_FRAME_SIZE is at most 2^24-1", |_| send([set(&[(5, 1 << 24)])]), PROTOCOL),
        must("9113-6.5.2", "unknown settings are ignored", |kit| send([set(&[(0xbeef, 7), (0, 1)]), kit.get(1)]), Expect::Served(1)),
        must("9113-6.5.2", "a client may forbid streams of the server", |kit| send([set(&[(3, 0)]), kit.get(1)]), Expect::Served(1)),
        must(
            "9113-6.5.2",
            "extreme but lawful values are taken",
            |kit| send([set(&[(1, u32::MAX), (2, 0), (4, 0x7fff_ffff), (5, (1 << 24) - 1), (6, u32::MAX)]), kit.get(1)]),
            Expect::Served(1),
        ),
        must("9113-6.5.3", "values take effect in their order", |kit| send([set(&[(4, 100), (4, 2)]), kit.get(1)]), at_most!(2)),
    ]
}

fn pings() -> Vec<Case> {
    vec![
        must("9113-6.7", "a PING comes back with its payload", |_| send([frame(PING, 0, 0, b"\x00echo\xffme")]), Expect::Judge(echoes)),
        must("9113-6.7", "the answer to a PING is not answered", |_| send([frame(PING, 1, 0, &[3; 8])]), Expect::Judge(says_nothing)),
        must("9113-6.7", "PING on a stream ends the connection", |_| send([frame(PING, 0, 1, &[0; 8])]), PROTOCOL),
        must("9113-6.7", "PING of another length than 8 ends the connection", |_| send([frame(PING, 0, 0, &[0; 6])]), SIZE),
        must("9113-6.7", "a longer PING ends the connection", |_| send([frame(PING, 0, 0, &[0; 9])]), SIZE),
    ]
}

fn last_words() -> Vec<Case> {
    vec![
        must(
            "9113-6.6",
            "a client does not push",
            |kit| send([kit.post(1), frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &kit.block("GET", &[])].concat())]),
            PROTOCOL,
        ),
        must(
            "9113-6.6",
            "PUSH_PROMISE on stream 0 ends the connection",
            |kit| send([frame(PUSH_PROMISE, END_HEADERS, 0, &[&[0, 0, 0, 2][..], &kit.block("GET", &[])].concat())]),
            PROTOCOL,
        ),
        must("9113-6.8", "GOAWAY on a stream ends the connection", |_| send([frame(GOAWAY, 0, 1, &[0; 8])]), PROTOCOL),
        must("9113-6.8", "a request from before GOAWAY is served", |kit| send([kit.get(1), frame(GOAWAY, 0, 0, &[0; 8])]), Expect::Served(1)),
        must(
            "9113-6.8",
            "GOAWAY may say more, and with unknown codes",
            |kit| send([kit.get(1), frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0xbe, 0xef, b'b', b'y', b'e'])]),
            Expect::Served(1),
        ),
        must(
            "9113-6.8",
            "GOAWAY of less than 8 bytes ends the connection",
            |_| send([frame(GOAWAY, 0, 0, &[0; 7])]),
            Expect::Connection(&[code::SIZE, code::PROTOCOL]),
        ),
    ]
}

fn windows() -> Vec<Case> {
    vec![
        must("9113-5.2", "a stream's window is kept to", |kit| send([kit.get(1)]), at_most!(3)).with(&[(1, 0), (4, 3)]),
        must(
            "9113-6.9",
            "a window is used as far as it goes",
            |kit| vec![Step::Send(kit.get(1)), Step::Body(1, 3), Step::Send(window(1, 2))],
            at_most!(5),
        )
        .with(&[(1, 0), (4, 3)]),
        must("9113-6.9", "an increment of 0 on the connection ends it", |_| send([window(0, 0)]), PROTOCOL),
        must(
            "9113-6.9",
            "an increment of 0 on a stream is a stream error",
            |kit| send([kit.post(1), window(1, 0)]),
            Expect::Stream(1, &[code::PROTOCOL]),
        ),
        must("9113-6.9", "WINDOW_UPDATE of another length than 4 ends the connection", |_| send([frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])]), SIZE),
        must("9113-6.9", "the reserved bit of an increment is ignored", |kit| send([window(0, 0x8000_0001), kit.get(1)]), Expect::Served(1)),
        must("9113-6.9.1", "a window of the connection over 2^31-1 ends it", |_| send([window(0, 0x7fff_ffff)]), FLOW),
        must(
            "9113-6.9.1",
            "a window of a stream over 2^31-1 is a stream error",
            |kit| send([kit.post(1), window(1, 0x7fff_ffff)]),
            Expect::Stream(1, &[code::FLOW]),
        ),
        must("9113-6.9.2", "a window of 0 holds a body back", |kit| send([kit.get(1)]), at_most!(0)).with(&[(1, 0), (4, 0)]),
        must(
            "9113-6.9.2",
            "a new initial window counts for open streams",
            |kit| vec![Step::Send(kit.get(1)), Step::Send(set(&[(4, 4)]))],
            at_most!(4),
        )
        .with(&[(1, 0), (4, 0)]),
        must(
            "9113-6.9.2",
            "a window may become negative, and is waited for",
            |kit| vec![Step::Send(kit.get(1)), Step::Body(1, 4), Step::Send([set(&[(4, 1)]), window(1, 3)].concat())],
            at_most!(4),
        )
        .with(&[(1, 0), (4, 4)]),
        must(
            "9113-6.9.2",
            "a negative window is filled up again",
            |kit| vec![Step::Send(kit.get(1)), Step::Body(1, 4), Step::Send([set(&[(4, 1)]), window(1, 5)].concat())],
            at_most!(6),
        )
        .with(&[(1, 0), (4, 4)]),
        must(
            "9113-6.9.2",
            "an initial window that lifts a stream's over 2^31-1 ends the connection",
            |kit| send([kit.post(1), window(1, 0x7fff_0000), set(&[(4, 0x7fff_ffff)])]),
            FLOW,
        ),
    ]
}
