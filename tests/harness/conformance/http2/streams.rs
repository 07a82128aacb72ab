//! RFC 9113 sections 5.1 to 5.4: the states of streams, their numbers, and errors.

use super::{Case, Expect, Kit, Step, code, data, must, send, should};
use crate::conformance::Found;
use crate::frames::{CONTINUATION, END_HEADERS, END_STREAM, PING, PRIORITY, RST_STREAM, WINDOW_UPDATE, frame};

const PROTOCOL: Expect = Expect::Connection(&[code::PROTOCOL]);
const MORE: [u8; 4] = [0, 0, 0, 100];

/// A whole exchange, and what follows it.
fn after(kit: &Kit<'_>, bytes: Vec<u8>) -> Vec<Step> {
    vec![Step::Send(kit.get(1)), Step::Answer(1), Step::Send(bytes)]
}

fn cancel(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

fn is_not_reset(seen: &super::Seen) -> Found {
    match seen.reset(1) {
        None if seen.is_gone() => Found::Broken(format!("the connection ended{}", seen.told())),
        None => Found::Kept,
        Some(code) => Found::Broken(format!("it answered a reset with one of code {code}")),
    }
}

fn names_the_last_stream(seen: &super::Seen) -> Found {
    match seen.goaway {
        Some((3, _)) => Found::Kept,
        Some((last, _)) if last > 3 => Found::Otherwise(format!("the last stream is said to be {last}")),
        Some((last, _)) => Found::Broken(format!("3 was served, and the last stream is said to be {last}")),
        None if seen.ended => Found::Otherwise("closed without a word".into()),
        None => Found::Broken("the connection goes on".into()),
    }
}

pub(super) fn cases() -> Vec<Case> {
    [idle(), half_closed(), closed(), numbers(), errors()].into_iter().flatten().collect()
}

fn idle() -> Vec<Case> {
    vec![
        must("9113-5.1", "idle: DATA ends the connection", |_| send([data(1, END_STREAM, b"a")]), PROTOCOL),
        must("9113-5.1", "idle: RST_STREAM ends the connection", |_| send([cancel(1)]), PROTOCOL),
        must("9113-5.1", "idle: WINDOW_UPDATE ends the connection", |_| send([frame(WINDOW_UPDATE, 0, 1, &MORE)]), PROTOCOL),
        must("9113-5.1", "idle: CONTINUATION ends the connection", |_| send([frame(CONTINUATION, END_HEADERS, 1, &[0x82])]), PROTOCOL),
        must("9113-5.1", "idle: streams of the server's own cannot be used", |_| send([data(2, END_STREAM, b"a")]), PROTOCOL),
    ]
}

fn half_closed() -> Vec<Case> {
    vec![
        must("9113-5.1", "half-closed: DATA is an error", |kit| send([kit.get(1), data(1, END_STREAM, b"a")]), Expect::Stream(1, &[code::CLOSED])),
        must("9113-5.1", "half-closed: HEADERS are an error", |kit| send([kit.get(1), kit.get(1)]), Expect::Stream(1, &[code::CLOSED])),
        must(
            "9113-5.1",
            "half-closed: CONTINUATION ends the connection",
            |kit| send([kit.get(1), frame(CONTINUATION, END_HEADERS, 1, &[0x82])]),
            PROTOCOL,
        ),
        must("9113-5.1", "half-closed: WINDOW_UPDATE is taken", |kit| send([kit.get(1), frame(WINDOW_UPDATE, 0, 1, &MORE)]), Expect::Served(1)),
        must("9113-5.1", "half-closed: PRIORITY is taken", |kit| send([kit.get(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])]), Expect::Served(1)),
        must("9113-5.1", "half-closed: RST_STREAM is taken", |kit| send([kit.get(1), cancel(1), kit.get(3)]), Expect::Served(3)),
    ]
}

fn closed() -> Vec<Case> {
    vec![
        must(
            "9113-5.1",
            "closed by a reset: DATA is an error",
            |kit| send([kit.post(1), cancel(1), data(1, END_STREAM, b"a")]),
            Expect::Stream(1, &[code::CLOSED]),
        ),
        must(
            "9113-5.1",
            "closed by a reset: HEADERS are an error",
            |kit| send([kit.post(1), cancel(1), kit.get(1)]),
            Expect::Stream(1, &[code::CLOSED]),
        ),
        should("9113-5.1", "closed: DATA is an error", |kit| after(kit, data(1, END_STREAM, b"a")), Expect::Closed(1)),
        must("9113-5.1", "closed: HEADERS end the connection", |kit| after(kit, kit.get(1)), Expect::Connection(&[code::CLOSED, code::PROTOCOL])),
        must(
            "9113-5.1",
            "closed: CONTINUATION ends the connection",
            |kit| after(kit, frame(CONTINUATION, END_HEADERS, 1, &[0x82])),
            Expect::Connection(&[code::CLOSED, code::PROTOCOL]),
        ),
        must(
            "9113-5.1",
            "closed: a late WINDOW_UPDATE is ignored",
            |kit| after(kit, [frame(WINDOW_UPDATE, 0, 1, &MORE), kit.get(3)].concat()),
            Expect::Served(3),
        ),
        must("9113-5.1", "closed: a late RST_STREAM is ignored", |kit| after(kit, [cancel(1), kit.get(3)].concat()), Expect::Served(3)),
        must(
            "9113-5.1",
            "closed: PRIORITY is taken",
            |kit| after(kit, [frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]), kit.get(3)].concat()),
            Expect::Served(3),
        ),
    ]
}

fn numbers() -> Vec<Case> {
    vec![
        must("9113-5.1.1", "a client's streams have odd numbers", |kit| send([kit.get(2)]), PROTOCOL),
        must("9113-5.1.1", "the numbers of streams rise", |kit| send([kit.get(5), kit.get(3)]), PROTOCOL),
        must("9113-5.1.1", "numbers may be left out", |kit| send([kit.get(1), kit.get(0x3fff)]), Expect::Served(0x3fff)),
        must("9113-5.1.1", "the greatest number is a number", |kit| send([kit.get(0x7fff_ffff)]), Expect::Served(0x7fff_ffff)),
        must(
            "9113-5.1.1",
            "a number that was left out is closed",
            |kit| vec![Step::Send(kit.get(5)), Step::Answer(5), Step::Send(data(3, END_STREAM, b"a"))],
            Expect::Closed(3),
        ),
        must("9113-5.1.2", "a stream over the limit is refused", |_| vec![Step::Crowd], Expect::Stream(0, &[code::REFUSED, code::PROTOCOL])),
    ]
}

fn errors() -> Vec<Case> {
    vec![
        must("9113-5.4.1", "a connection error ends the connection", |_| send([data(0, 0, b"a")]), Expect::Closes),
        must(
            "9113-5.4.1",
            "GOAWAY says which stream was the last",
            |kit| vec![Step::Send([kit.get(1), kit.get(3)].concat()), Step::Answer(1), Step::Answer(3), Step::Send(frame(PING, 0, 1, &[0; 8]))],
            Expect::Judge(names_the_last_stream),
        ),
        must("9113-5.4.2", "a reset is not answered with a reset", |kit| send([kit.post(1), cancel(1)]), Expect::Judge(is_not_reset)),
        should(
            "9113-5.4.2",
            "a stream error leaves the connection alone",
            |kit| send([kit.get_with(1, &[("X-Upper", "1")]), kit.get(3)]),
            Expect::ServedUnlessOver(3),
        ),
    ]
}
