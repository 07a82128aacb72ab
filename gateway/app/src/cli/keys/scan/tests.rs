use model::{
    key::{Issued, Peppers, issue},
    secret::SecretKey,
};

use super::*;

fn issued(purpose: Purpose, random: u8) -> Issued {
    let peppers = Peppers::new([(1, SecretKey::new([3; 32]))]).unwrap();
    issue(purpose, &peppers, &[random; 32], &[random; 32]).unwrap()
}

fn found(text: &[u8]) -> Vec<(u64, u64, Purpose, KeyId)> {
    let mut report = Report::default();
    scan(text, Path::new("x"), &mut report).unwrap();
    report.found.into_iter().map(|found| (found.line, found.column, found.purpose, found.id)).collect()
}

#[test]
fn each_kind_is_found_with_its_place_whatever_stands_around_it() {
    for purpose in [Purpose::Live, Purpose::Test, Purpose::Operator] {
        let key = issued(purpose, 5);
        let text = key.text.expose_secret();
        for (before, after) in [("", ""), ("key=\"", "\"\n"), ("cw_live_", ""), ("\u{e9}x", "zzz"), ("cw_cw_", "_live")] {
            let line = format!("first\n{before}{text}{after}");
            let column = before.len() as u64 + 1;
            assert_eq!(found(line.as_bytes()), [(2, column, purpose, key.id)], "{before:?} {after:?}");
        }
    }
}

#[test]
fn what_has_the_form_but_not_the_checksum_is_not_found() {
    let key = issued(Purpose::Live, 5);
    let text = key.text.expose_secret().to_owned();
    for at in [8, 20, 21, 60, text.len() - 1] {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
        assert_eq!(found(&changed), [], "{at}");
    }
    assert_eq!(found(&text.as_bytes()[..text.len() - 1]), []);
    assert_eq!(found(b"cw_live_"), []);
    assert_eq!(found(b""), []);
}

/// A stream that is read in pieces must find what lies across their border, once.
#[test]
fn a_key_across_the_border_of_two_pieces_is_found_once() {
    let key = issued(Purpose::Live, 6);
    let text = key.text.expose_secret().as_bytes();
    for before in (PIECE_BYTES - TEXT_MAX - 2..PIECE_BYTES + 2).step_by(7) {
        let mut bytes = vec![b'\n'; before];
        bytes.extend_from_slice(text);
        bytes.extend(std::iter::repeat_n(b'.', PIECE_BYTES));
        assert_eq!(found(&bytes), [(before as u64 + 1, 1, Purpose::Live, key.id)], "{before}");
    }
}

#[test]
fn a_tree_is_walked_without_following_links_and_what_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (issued(Purpose::Live, 7), issued(Purpose::Test, 8));
    std::fs::create_dir_all(folder.path().join("src/.git/objects")).unwrap();
    std::fs::write(folder.path().join("src/a.env"), a.text.expose_secret()).unwrap();
    std::fs::write(folder.path().join("src/b.bin"), [b"\0\xff".as_slice(), b.text.expose_secret().as_bytes()].concat()).unwrap();
    std::fs::write(folder.path().join("src/.git/objects/pack"), a.text.expose_secret()).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("src/loop")).unwrap();
    let mut report = Report::default();

    walk(folder.path(), &mut report);
    walk(&folder.path().join("missing"), &mut report);

    let ids: Vec<_> = report.found.iter().map(|found| found.id).collect();
    assert_eq!((ids, report.files), (vec![a.id, b.id], 2));
    assert_eq!(report.unreadable.len(), 1);
}
