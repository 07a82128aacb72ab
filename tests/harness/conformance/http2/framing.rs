//! RFC 9113 sections 3, 4, 5.5, 6.1 to 6.4 and 6.10: the preface, frames, and what they may hold.

use super::{Case, Expect, Kit, Step, code, data, must, send, should, whole};
use crate::conformance::Found;
use crate::frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, frame};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;
const PROTOCOL: Expect = Expect::Connection(&[code::PROTOCOL]);
const SIZE: Expect = Expect::Connection(&[code::SIZE]);

/// A HEADERS frame whose block is open, and the rest of the block.
fn halves(kit: &Kit<'_>, stream: u32, flags: u8) -> (Vec<u8>, Vec<u8>) {
    let block = kit.block("GET", &[]);
    let (first, rest) = block.split_at(block.len() / 2);
    (frame(HEADERS, flags, stream, first), rest.to_vec())
}

fn begins_with_settings(seen: &super::Seen) -> Found {
    match seen.first {
        Some((SETTINGS, flags)) if flags & 1 == 0 => Found::Kept,
        other => Found::Broken(format!("it began with {other:?}")),
    }
}

pub(super) fn cases() -> Vec<Case> {
    [preface(), frames(), data_frames(), headers(), priority_and_reset(), continuation()].into_iter().flatten().collect()
}

fn preface() -> Vec<Case> {
    vec![
        must("9113-3.4", "the server's preface is a SETTINGS frame", |_| vec![Step::Settings], Expect::Judge(begins_with_settings)),
        must("9113-3.4", "a request may follow the client's preface at once", |kit| send([kit.get(1)]), Expect::Served(1)),
        must(
            "9113-3.4",
            "a preface in pieces is a preface",
            |kit| {
                let (first, rest) = PREFACE.split_at(10);
                vec![Step::Send(first.to_vec()), Step::Send(rest.to_vec()), Step::Send(frame(SETTINGS, 0, 0, &[])), Step::Send(kit.get(1))]
            },
            Expect::Served(1),
        )
        .own_preface(),
        must(
            "9113-3.4",
            "a wrong preface ends the connection",
            |_| send([b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])]),
            PROTOCOL,
        )
        .own_preface(),
        must(
            "9113-3.4",
            "a preface without SETTINGS ends the connection",
            |kit| send([PREFACE.to_vec(), frame(PING, 0, 0, &[0; 8]), kit.get(1)]),
            PROTOCOL,
        )
        .own_preface(),
    ]
}

fn frames() -> Vec<Case> {
    vec![
        must("9113-4.1", "frames of unknown types are ignored", |kit| send([frame(0xbe, 0xff, 0, &[7; 32]), kit.get(1)]), Expect::Served(1)),
        must("9113-4.1", "flags without a meaning are ignored", |kit| send([frame(PING, 0xfe, 0, &[1; 8]), kit.get(1)]), Expect::Served(1)),
        must(
            "9113-4.1",
            "the reserved bit of a stream identifier is ignored",
            |kit| {
                let get = kit.get(1);
                let (head, rest) = get.split_at(5);
                // The identifier is 1: its first octet has no other bit.
                send([head.to_vec(), vec![0x80], rest.get(1..).unwrap_or_default().to_vec()])
            },
            Expect::Served(1),
        ),
        must("9113-4.2", "a frame of 2^14 bytes is taken", |kit| send([kit.post(1), data(1, END_STREAM, &[b'a'; 16_384])]), Expect::Served(1)),
        must(
            "9113-4.2",
            "a DATA frame over the limit is refused",
            |kit| send([kit.post(1), data(1, END_STREAM, &vec![b'a'; 16_385])]),
            Expect::Stream(1, &[code::SIZE]),
        ),
        must(
            "9113-4.2",
            "a HEADERS frame over the limit ends the connection",
            |kit| send([kit.get_with(1, &[("x-long", &"a".repeat(16_400))])]),
            SIZE,
        ),
        must(
            "9113-4.2",
            "a SETTINGS frame over the limit ends the connection",
            |_| send([frame(SETTINGS, 0, 0, &[0, 0xbe, 0, 0, 0, 1].repeat(2_731))]),
            SIZE,
        ),
        must(
            "9113-4.3",
            "a header block that is no HPACK ends the connection",
            |_| send([whole(1, &[0x80])]),
            Expect::Connection(&[code::COMPRESSION]),
        ),
        must(
            "9113-4.3",
            "no other frame interrupts a header block",
            |kit| {
                let (first, rest) = halves(kit, 1, END_STREAM);
                send([first, frame(PING, 0, 0, &[0; 8]), frame(CONTINUATION, END_HEADERS, 1, &rest)])
            },
            PROTOCOL,
        ),
        must(
            "9113-4.3",
            "no other stream interrupts a header block",
            |kit| {
                let (first, rest) = halves(kit, 1, END_STREAM);
                send([first, kit.get(3), frame(CONTINUATION, END_HEADERS, 1, &rest)])
            },
            PROTOCOL,
        ),
        must(
            "9113-5.5",
            "a frame of an unknown type does not belong into a header block",
            |kit| {
                let (first, rest) = halves(kit, 1, END_STREAM);
                send([first, frame(0xbe, 0, 1, &[0; 8]), frame(CONTINUATION, END_HEADERS, 1, &rest)])
            },
            PROTOCOL,
        ),
        must(
            "9113-5.5",
            "a frame of an unknown type on a stream is ignored",
            |kit| send([kit.post(1), frame(0xbe, 0, 1, &[0; 8]), data(1, END_STREAM, b"a")]),
            Expect::Served(1),
        ),
    ]
}

fn data_frames() -> Vec<Case> {
    vec![
        must("9113-6.1", "DATA on stream 0 ends the connection", |_| send([data(0, 0, b"a")]), PROTOCOL),
        must(
            "9113-6.1",
            "padding longer than the payload ends the connection",
            |kit| send([kit.post(1), frame(DATA, PADDED | END_STREAM, 1, &[6, b'a', 0, 0, 0, 0])]),
            PROTOCOL,
        ),
        must(
            "9113-6.1",
            "padding as long as the payload ends the connection",
            |kit| send([kit.post(1), frame(DATA, PADDED | END_STREAM, 1, &[5, b'a', 0, 0, 0])]),
            PROTOCOL,
        ),
        must(
            "9113-6.1",
            "padding is taken off",
            |kit| send([kit.post_with(1, &[("content-length", "1")]), frame(DATA, PADDED | END_STREAM, 1, &[4, b'a', 0, 0, 0, 0])]),
            Expect::Served(1),
        ),
        must(
            "9113-6.1",
            "padding may be all there is",
            |kit| send([kit.post_with(1, &[("content-length", "0")]), frame(DATA, PADDED | END_STREAM, 1, &[2, 0, 0])]),
            Expect::Served(1),
        ),
        must(
            "9113-6.1",
            "a padded frame has at least the length of its padding",
            |kit| send([kit.post(1), frame(DATA, PADDED | END_STREAM, 1, &[])]),
            Expect::Connection(&[code::SIZE, code::PROTOCOL]),
        ),
        must("9113-6.1", "an empty DATA frame ends a body", |kit| send([kit.post(1), data(1, 0, b"a"), data(1, END_STREAM, b"")]), Expect::Served(1)),
    ]
}

fn headers() -> Vec<Case> {
    vec![
        must("9113-6.2", "HEADERS on stream 0 ends the connection", |kit| send([kit.get(0)]), PROTOCOL),
        must(
            "9113-6.2",
            "padding of HEADERS is taken off",
            |kit| send([frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &[&[3][..], &kit.block("GET", &[]), &[0; 3]].concat())]),
            Expect::Served(1),
        ),
        must(
            "9113-6.2",
            "padding of HEADERS longer than the frame ends the connection",
            |kit| send([frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &[&[255][..], &kit.block("GET", &[])].concat())]),
            PROTOCOL,
        ),
        must(
            "9113-6.2",
            "priority fields of HEADERS are passed over",
            |kit| {
                let payload = [&[0, 0, 0, 0, 15][..], &kit.block("GET", &[])].concat();
                send([frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, &payload)])
            },
            Expect::Served(1),
        ),
        must(
            "9113-6.2",
            "HEADERS too short for its priority fields end the connection",
            |_| send([frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, &[0, 0, 0])]),
            Expect::Connection(&[code::SIZE, code::PROTOCOL]),
        ),
    ]
}

fn priority_and_reset() -> Vec<Case> {
    vec![
        must("9113-6.3", "PRIORITY on stream 0 ends the connection", |_| send([frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 7])]), PROTOCOL),
        must(
            "9113-6.3",
            "PRIORITY of another length than 5 is a stream error",
            |kit| send([kit.post(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 0])]),
            Expect::Stream(1, &[code::SIZE]),
        ),
        must(
            "9113-6.3",
            "PRIORITY may come for an idle stream",
            |kit| send([frame(PRIORITY, 0, 9, &[0, 0, 0, 1, 7]), kit.get(11)]),
            Expect::Served(11),
        ),
        must(
            "9113-6.3",
            "PRIORITY may come for a closed stream",
            |kit| vec![Step::Send(kit.get(1)), Step::Answer(1), Step::Send([frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 7]), kit.get(3)].concat())],
            Expect::Served(3),
        ),
        must("9113-6.4", "RST_STREAM on stream 0 ends the connection", |_| send([frame(RST_STREAM, 0, 0, &[0, 0, 0, 8])]), PROTOCOL),
        must(
            "9113-6.4",
            "RST_STREAM of another length than 4 ends the connection",
            |kit| send([kit.post(1), frame(RST_STREAM, 0, 1, &[0, 0, 8])]),
            SIZE,
        ),
        must(
            "9113-6.4",
            "RST_STREAM ends a stream and no more",
            |kit| send([kit.post(1), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), kit.get(3)]),
            Expect::Served(3),
        ),
        must(
            "9113-7",
            "an unknown error code has no effect of its own",
            |kit| send([kit.post(1), frame(RST_STREAM, 0, 1, &[0xbe; 4]), kit.get(3)]),
            Expect::Served(3),
        ),
    ]
}

fn continuation() -> Vec<Case> {
    vec![
        must(
            "9113-6.10",
            "a header block may come in pieces",
            |kit| {
                let block = kit.block("GET", &[]);
                let (first, rest) = block.split_at(5);
                // Three pieces: some servers bound their number by the size that a block may have.
                let pieces = rest.chunks(rest.len().div_ceil(3)).enumerate();
                let pieces = pieces.flat_map(|(n, piece)| frame(CONTINUATION, if n == 2 { END_HEADERS } else { 0 }, 1, piece));
                send([frame(HEADERS, END_STREAM, 1, first), pieces.collect()])
            },
            Expect::Served(1),
        ),
        must(
            "9113-6.10",
            "an empty CONTINUATION may end a header block",
            |kit| send([frame(HEADERS, END_STREAM, 1, &kit.block("GET", &[])), frame(CONTINUATION, END_HEADERS, 1, &[])]),
            Expect::Served(1),
        ),
        must("9113-6.10", "CONTINUATION without HEADERS ends the connection", |_| send([frame(CONTINUATION, END_HEADERS, 1, &[0x82])]), PROTOCOL),
        must(
            "9113-6.10",
            "CONTINUATION behind a whole header block ends the connection",
            |kit| send([kit.post(1), frame(CONTINUATION, END_HEADERS, 1, &[0x82])]),
            PROTOCOL,
        ),
        must(
            "9113-6.10",
            "CONTINUATION behind the last CONTINUATION ends the connection",
            |kit| {
                let (first, rest) = halves(kit, 1, END_STREAM);
                send([first, frame(CONTINUATION, END_HEADERS, 1, &rest), frame(CONTINUATION, END_HEADERS, 1, &[0x82])])
            },
            PROTOCOL,
        ),
        must(
            "9113-6.10",
            "CONTINUATION on stream 0 ends the connection",
            |kit| {
                let (first, rest) = halves(kit, 1, END_STREAM);
                send([first, frame(CONTINUATION, END_HEADERS, 0, &rest)])
            },
            PROTOCOL,
        ),
        must(
            "9113-6.10",
            "CONTINUATION on another stream ends the connection",
            |kit| {
                let (first, rest) = halves(kit, 1, END_STREAM);
                send([first, frame(CONTINUATION, END_HEADERS, 3, &rest)])
            },
            PROTOCOL,
        ),
        must(
            "9113-6.10",
            "DATA inside a header block ends the connection",
            |kit| {
                let (first, rest) = halves(kit, 1, 0);
                send([first, data(1, END_STREAM, b"a"), frame(CONTINUATION, END_HEADERS, 1, &rest)])
            },
            PROTOCOL,
        ),
        must(
            "9113-6.10",
            "SETTINGS inside a header block end the connection",
            |kit| {
                let (first, rest) = halves(kit, 1, END_STREAM);
                send([first, frame(SETTINGS, 0, 0, &[]), frame(CONTINUATION, END_HEADERS, 1, &rest)])
            },
            PROTOCOL,
        ),
        should(
            "9113-10.5",
            "a header block in endless pieces ends the connection",
            |_| send([frame(HEADERS, END_STREAM, 1, &[0x82]), frame(CONTINUATION, 0, 1, &[]).repeat(20_000)]),
            Expect::Connection(&[code::CALM, code::PROTOCOL]),
        ),
    ]
}
