use super::{question, serving};

#[test]
fn question_is_the_message_with_its_prefix() {
    assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
    assert_eq!(&question("a.B")[..], [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
}

#[test]
fn answer_is_one_whole_message_of_which_the_status_counts() {
    for (answer, expected) in [
        (&[0, 0, 0, 0, 2, 8, 1][..], Some(1)),
        (&[0, 0, 0, 0, 2, 8, 2], Some(2)),
        // Protocol Buffers leave zero out.
        (&[0, 0, 0, 0, 0], Some(0)),
        // Fields of a later version: a text, a number, eight bytes, four bytes; and the last one counts.
        (&[0, 0, 0, 0, 5, 0x12, 1, b'x', 8, 1], Some(1)),
        (&[0, 0, 0, 0, 5, 0x18, 0x80, 1, 8, 1], Some(1)),
        (&[0, 0, 0, 0, 11, 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 8, 1], Some(1)),
        (&[0, 0, 0, 0, 7, 0x1d, 1, 2, 3, 4, 8, 1], Some(1)),
        (&[0, 0, 0, 0, 4, 8, 1, 8, 2], Some(2)),
        // Compressed, cut, too long, groups, numbers without an end.
        (&[1, 0, 0, 0, 2, 8, 1], None),
        (&[0, 0, 0, 0, 2, 8], None),
        (&[0, 0, 0, 0, 1, 8, 1], None),
        (&[0, 0, 0], None),
        (&[], None),
        (&[0, 0, 0, 0, 1, 8], None),
        (&[0, 0, 0, 0, 2, 0x0b, 1], None),
        (&[0, 0, 0, 0, 2, 0x12, 9], None),
        (&[0, 0, 0, 0, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255], None),
    ] {
        assert_eq!(serving(answer), expected, "{answer:?}");
    }
}
