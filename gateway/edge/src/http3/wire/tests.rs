use bytes::BytesMut;

use super::{put_varint, varint};

/// The examples of RFC 9000 appendix A.1, and each length's first and last number.
#[test]
fn variable_length_integers_are_read_and_written() {
    assert_eq!(varint(&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]), Some((151_288_809_941_952_652, 8)));
    assert_eq!(varint(&[0x9d, 0x7f, 0x3e, 0x7d]), Some((494_878_333, 4)));
    assert_eq!(varint(&[0x40, 0x25, 9]), Some((37, 2)), "more bytes than needed are allowed");
    for (value, length) in [(0, 1), (63, 1), (64, 2), (16_383, 2), (16_384, 4), (1_073_741_823, 4), (1_073_741_824, 8), ((1 << 62) - 1, 8)] {
        let mut out = BytesMut::new();
        put_varint(&mut out, value);
        assert_eq!(varint(&out), Some((value, length)));
        assert_eq!(varint(&out[..length - 1]), None, "cut");
    }
}
