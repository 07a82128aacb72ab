//! What is read of files that are whole, torn, altered, or not what they seem.

use std::io::{self, Read};

use super::{
    super::record::{BYTES_MAX, End, Records},
    *,
};

/// What is read of these bytes alone, from an image at 0.
fn read_of(place: &Place, bytes: &[u8]) -> Vec<u64> {
    let id = FileId::random().unwrap();
    put(place, id, bytes);
    let (authority, applied) = read(place, &at(0));
    std::fs::remove_file(place.folder.join(id.name())).unwrap();
    assert_eq!(authority, applied.last().copied().unwrap_or(0), "the revision is that of what was applied");
    applied
}

#[test]
fn file_torn_at_any_byte_gives_the_records_before_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let built = Built::of(&place, &[delta(0, 1), delta(1, 3), delta(3, 4)]);
    let bytes = built.bytes();

    assert_eq!(read_of(&place, &bytes), [1, 2, 3, 4]);
    let last = bytes.len() - built.pieces.last().unwrap().len();
    for end in last..bytes.len() {
        assert_eq!(read_of(&place, &bytes[..end]), [1, 2, 3], "cut at {end}");
        // Blocks that were given to the file and never written read as zeros.
        let mut zeros = bytes.clone();
        zeros[end..].fill(0);
        assert_eq!(read_of(&place, &zeros), [1, 2, 3], "zeros from {end}");
    }
    for end in 0..last {
        let applied = read_of(&place, &bytes[..end]);
        assert!([1, 2, 3].starts_with(&applied) && applied.len() < 3, "cut at {end}: {applied:?}");
    }
}

#[test]
fn one_flipped_bit_anywhere_ends_the_file_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let built = Built::of(&place, &[delta(0, 1), delta(1, 2), delta(2, 3)]);
    let bytes = built.bytes();
    let ends: Vec<usize> = built
        .pieces
        .iter()
        .scan(0, |at, piece| {
            *at += piece.len();
            Some(*at)
        })
        .collect();

    // Every bit of what is not sealed, and one of each byte that is.
    let is_plain = |byte: usize| std::iter::once(&0).chain(&ends).any(|start| (*start..start + 8).contains(&byte)) || byte < ends[0];
    for flipped in (0..bytes.len() * 8).filter(|bit| is_plain(bit / 8) || bit % 8 == bit / 8 % 8) {
        let mut altered = bytes.clone();
        altered[flipped / 8] ^= 1 << (flipped % 8);
        let untouched = ends.iter().filter(|end| **end <= flipped / 8).count();

        let applied = read_of(&place, &altered);

        let expected: Vec<u64> = (1..).take(untouched.saturating_sub(1)).collect();
        assert_eq!(applied, expected, "bit {flipped}");
    }
}

/// Each would be taken if the numbers of revisions alone were looked at.
#[test]
fn record_opens_in_its_own_place_of_its_own_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let pieces = Built::of(&place, &[delta(0, 1), delta(1, 2), delta(2, 3)]).pieces;
    let forged = Record { changes: vec![consumer(66), consumer(2)], ..delta(1, 2) };
    let other = Built::of(&place, &[delta(0, 1), forged]).pieces;
    let with = |order: &[&Vec<u8>]| read_of(&place, &order.iter().copied().flatten().copied().collect::<Vec<_>>());

    assert_eq!(with(&[&pieces[0], &pieces[1], &pieces[2], &pieces[3]]), [1, 2, 3]);
    assert_eq!(with(&[&pieces[0], &pieces[1], &other[2]]), [1], "of another file");
    assert_eq!(with(&[&pieces[0], &other[1], &other[2]]), [0; 0], "all of another file");
    assert_eq!(with(&[&other[0], &other[1], &other[2]]), [1, 66, 2], "the other file by itself");
    assert_eq!(with(&[&pieces[0], &pieces[2], &pieces[1]]), [0; 0], "swapped");
    assert_eq!(with(&[&pieces[0], &pieces[1], &pieces[3]]), [1], "one taken out");
    assert_eq!(with(&[&pieces[0], &pieces[1], &pieces[1], &pieces[2]]), [1], "one repeated");

    // Taken out at the beginning, where an image has it already: the revisions fit.
    let id = FileId::random().unwrap();
    put(&place, id, &[&pieces[0][..], &pieces[2], &pieces[3]].concat());
    assert_eq!(read(&place, &at(1)), (1, vec![]));
}

#[test]
fn file_of_another_key_is_of_no_use() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let other = Place { key: SecretKey::new([8; 32]), ..place.clone() };
    Built::of(&other, &[delta(0, 1)]).put(&place);

    assert_eq!(read(&place, &at(0)), (0, vec![]));
    assert_eq!(read(&other, &at(0)), (1, vec![1]));
}

#[test]
fn length_that_is_not_there_ends_the_file_and_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let whole = Built::of(&place, &[delta(0, 1)]).bytes();

    for length in [0, 1, 19, u32::try_from(BYTES_MAX).unwrap(), u32::try_from(BYTES_MAX).unwrap() + 1, u32::MAX] {
        for rest in [0, 1, 40] {
            let bytes = [&whole[..], &length.to_le_bytes(), &vec![7; rest]].concat();
            assert_eq!(read_of(&place, &bytes), [1], "{length} {rest}");
        }
    }
    // Longer than any record: what is there is not even read.
    let bytes = [&whole[..], &u32::MAX.to_le_bytes()].concat();
    let mut rest = io::repeat(7).take(1 << 20);
    let mut records = Records::new((&bytes[..]).chain(&mut rest), place.key.clone()).unwrap();
    assert!(records.next().unwrap().is_ok());
    assert_eq!(records.next().unwrap().unwrap_err(), End::Unopened);
    assert_eq!(rest.limit(), 1 << 20);
    assert_eq!(read_of(&place, &[]), [0; 0], "an empty file");
    assert_eq!(read_of(&place, &whole[..24]), [0; 0], "a file without records");
    assert_eq!(read_of(&place, &[0; 4096]), [0; 0], "blocks that were never written");
}

#[test]
fn record_behind_a_gap_is_not_applied_and_neither_is_what_follows() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    Built::of(&place, &[delta(0, 1), delta(2, 3), delta(3, 4)]).put(&place);

    assert_eq!(read(&place, &at(0)), (1, vec![1]));
    assert_eq!(read(&place, &at(2)), (4, vec![3, 4]), "an image that has what is missing");
    assert_eq!(read(&place, &at(9)), (9, vec![]), "an image that has all of it");
}

/// At a hand-over two processes write, each what it has seen, cut as it came.
#[test]
fn files_of_two_processes_lead_on_from_each_other_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let files = [&[delta(0, 2), delta(2, 3)][..], &[delta(1, 4)], &[delta(7, 8)], &[delta(4, 5), delta(5, 7)]];
    for records in files {
        Built::of(&place, records).put(&place);
    }

    // What is put again is what it was; the last one of each is what counts.
    assert_eq!(read(&place, &at(0)), (8, vec![1, 2, 3, 2, 3, 4, 5, 6, 7, 8]));
}

#[test]
fn record_of_another_epoch_is_not_applied_whatever_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let twin = Record { epoch_id: Uuid::from_u128(8), ..delta(0, 1) };
    let later = Record { epoch: 2, epoch_id: Uuid::from_u128(9), ..delta(0, 1) };
    for record in [twin, later] {
        Built::of(&place, &[record]).put(&place);
    }
    assert_eq!(read(&place, &at(0)), (0, vec![]));

    // What an earlier version wrote has no identity: then the number has to do, and the record says which it is.
    let folder = tempfile::tempdir().unwrap();
    let place = super::place(&folder);
    Built::of(&place, &[delta(0, 1)]).put(&place);
    let replay = replay::replay(&place, &Revisions { epoch_id: Uuid::nil(), ..at(0) }).unwrap();
    assert_eq!((replay.revisions, numbers(&replay)), (at(1), vec![1]));
}

#[test]
fn record_that_does_not_lead_on_ends_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let (standing, back) = (Record { after: 1, ..delta(1, 1) }, Record { before: 9, after: 2, ..delta(0, 1) });
    for record in [standing, back] {
        let bytes = Built::of(&place, &[delta(0, 1), record, delta(1, 2)]).bytes();
        assert_eq!(read_of(&place, &bytes), [1]);
    }
}
