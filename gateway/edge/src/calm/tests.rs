use proptest::prelude::*;

use super::*;

fn frame(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
    let [_, size @ ..] = u32::try_from(length).unwrap().to_be_bytes();
    [&size[..], &[kind, flags], &stream.to_be_bytes(), &vec![0; length]].concat()
}

fn begun() -> Calm {
    let mut calm = Calm::default();
    assert_eq!(calm.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1), None);
    assert_eq!(calm.read(&frame(SETTINGS, 0, 0, 0), 1), None);
    calm.credit = CREDIT_MAX;
    calm
}

const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

#[test]
fn frames_that_move_nothing_are_refused_when_the_credit_is_gone() {
    for (kind, length) in [(SETTINGS, 6), (PING, 8), (2, 5), (WINDOW_UPDATE, 4), (0xbe, 64), (0, 0), (3, 4), (9, 0)] {
        let mut calm = begun();
        let one = frame(kind, 0, 1, length);
        let many = one.repeat(usize::try_from(CREDIT_MAX).unwrap() + 10);

        let refused = calm.read(&many, 1);

        assert_eq!(refused, Some(one.len() * usize::try_from(CREDIT_MAX).unwrap()), "kind {kind}");
    }
}

#[test]
fn a_connection_begins_with_settings() {
    let mut calm = Calm::default();

    let refused = calm.read(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(PING, 0, 0, 8)].concat(), 1);

    assert_eq!(refused, Some(24));
    assert_eq!(calm.last_words(), frame(0, 0, 0, 0));
}

#[test]
fn what_moves_something_is_never_refused() {
    let mut calm = begun();
    let request = [frame(1, 5, 1, 40), frame(2, 0, 1, 5), frame(WINDOW_UPDATE, 0, 1, 4), frame(3, 0, 1, 4)].concat();
    let upload = [frame(0, 0, 1, 1), frame(0, 1, 1, 0)].concat();
    for _ in 0..100_000 {
        assert_eq!(calm.read(&request, 1), None, "requests");
        assert_eq!(calm.read(&upload, 1), None, "bodies");
        // A frame of 16 KiB was sent, and both windows are given back.
        calm.wrote(16_393);
        assert_eq!(calm.read(&frame(WINDOW_UPDATE, 0, 0, 4).repeat(2), 1), None, "windows");
    }
    for second in 2..1_000 {
        assert_eq!(calm.read(&frame(PING, 0, 0, 8).repeat(500), second), None, "probes");
    }
}

#[test]
fn the_answers_to_a_flood_do_not_pay_for_it() {
    let mut calm = begun();
    let mut pings = 0;
    while calm.read(&frame(PING, 0, 0, 8), 1).is_none() {
        calm.wrote(17);
        pings += 1;
        assert!(pings < 2 * CREDIT_MAX);
    }
}

#[test]
fn last_words_complete_what_was_begun_and_stay_in_an_open_block() {
    let mut calm = begun();
    let block = frame(1, 0, 7, 3);
    assert_eq!(calm.read(&block, 1), None);
    let piece = frame(9, 0, 7, 2);
    let (first, rest) = piece.split_at(4);
    let refused = loop {
        assert_eq!(calm.read(first, 1), None);
        if let Some(at) = calm.read(rest, 1) {
            break at;
        }
    };

    let words = calm.last_words();

    assert_eq!(refused, 0);
    assert_eq!(words[..7], piece[4..], "the rest of the piece that was begun");
    assert_eq!(words[7..16], frame(9, 0, 7, 0), "the block that is open goes on");
}

proptest! {
    /// However the bytes are cut into reads, the same frame is the one that is refused.
    #[test]
    fn cuts_change_nothing(cuts in proptest::collection::vec(1_usize..40, 1..20)) {
        let one = frame(PING, 0, 0, 8);
        let many = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, 0), &one.repeat(usize::try_from(CREDIT_MAX).unwrap() + 10)].concat();
        // SETTINGS has cost one.
        let expected = 24 + 9 + one.len() * usize::try_from(CREDIT_MAX - 1).unwrap();
        let (mut calm, mut at) = (Calm::default(), 0);
        for cut in cuts.iter().cycle() {
            let end = (at + cut).min(many.len());
            if let Some(kept) = calm.read(&many[at..end], 1) {
                prop_assert_eq!(at + kept - calm.begun, expected);
                return Ok(());
            }
            at = end;
        }
    }
}
