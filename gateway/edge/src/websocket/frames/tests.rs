use super::*;

/// A frame without a payload's content: header, then zeros.
fn frame(opcode: u8, length: usize, mask: bool) -> Vec<u8> {
    let mut out = vec![0x80 | opcode];
    let bit = if mask { 0x80 } else { 0 };
    match length {
        0..=125 => out.push(bit | u8::try_from(length).unwrap()),
        126..=0xffff => {
            out.push(bit | 0x7e);
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            out.push(bit | 0x7f);
            out.extend(u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    out.extend(vec![7; if mask { 4 } else { 0 }]);
    out.extend(vec![0; length]);
    out
}

/// Every length at which the header changes its form, masked or not.
fn all() -> impl Iterator<Item = (u8, usize, bool)> {
    let lengths = [0, 1, 125, 126, 127, 0xffff, 0x1_0000, 70_000];
    lengths.into_iter().flat_map(|length| [(1, length, false), (2, length, true)])
}

#[test]
fn borders_of_frames_are_found_however_the_bytes_come() {
    let bytes: Vec<u8> = all().flat_map(|(opcode, length, mask)| frame(opcode, length, mask)).collect();
    let mut borders = vec![0];
    for (opcode, length, mask) in all() {
        borders.push(borders.last().unwrap() + frame(opcode, length, mask).len());
    }

    for pieces in [1, 2, 3, 7, 64, 1_000, 4_096, bytes.len()] {
        let mut frames = Frames::default();
        let mut at = 0;
        assert!(frames.is_between());
        for piece in bytes.chunks(pieces) {
            frames.read(piece);
            at += piece.len();
            assert_eq!(frames.is_between(), borders.contains(&at), "after {at} bytes in pieces of {pieces}");
        }
        assert!(!frames.has_closed());
    }
}

#[test]
fn finishing_stops_at_the_end_of_the_frame_that_has_begun() {
    for (opcode, length, mask) in all() {
        let whole = frame(opcode, length, mask);
        for begun in [1, 2, whole.len() / 2, whole.len() - 1] {
            let mut frames = Frames::default();
            let (first, rest) = whole.split_at(begun);
            frames.read(first);
            let is_over = frames.is_between();

            let taken = frames.finish(&[rest, &frame(1, 9, true)].concat());

            assert_eq!(taken, if is_over { 0 } else { rest.len() }, "{length} bytes, masked {mask}, {begun} begun");
            assert!(frames.is_between());
        }
    }
}

#[test]
fn close_frames_are_noticed_and_well_formed() {
    for made in [close(1001, None), close(1001, Some([1, 2, 3, 4]))] {
        let mut frames = Frames::default();
        frames.read(&frame(1, 300, false));
        assert!(!frames.has_closed());
        frames.read(&made);
        assert!(frames.has_closed() && frames.is_between(), "{made:?}");
    }
    assert_eq!(close(1001, None), [0x88, 2, 0x03, 0xe9]);
    assert_eq!(close(1008, Some([0xff, 0, 0, 0])), [0x88, 0x82, 0xff, 0, 0, 0, 0x03 ^ 0xff, 0xf0]);
}
