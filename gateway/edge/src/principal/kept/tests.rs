use super::*;

const SECOND: u64 = 1_000_000_000;

fn value(n: usize) -> HeaderValue {
    HeaderValue::from(n)
}

fn at(seconds: u64) -> BootNanos {
    BootNanos(seconds * SECOND)
}

#[test]
fn a_token_is_given_again_for_ten_seconds_and_to_the_very_same_claims_alone() {
    let mut kept = Kept::default();
    kept.keep(b"alice, read", value(1), at(100));

    assert_eq!(kept.find(b"alice, read", at(109)), Some(&value(1)));
    assert_eq!(kept.find(b"alice, read", BootNanos(110 * SECOND - 1)), Some(&value(1)));
    assert_eq!(kept.find(b"alice, read", at(110)), None);
    for other in [&b"alice, write"[..], b"alice, rea", b"alice, read ", b"", b"Alice, read"] {
        assert_eq!(kept.find(other, at(100)), None);
    }
}

/// A half that is put away while its tokens are young goes on giving them.
#[test]
fn a_token_outlives_the_turn_of_the_halves_and_is_gone_after_two() {
    let mut kept = Kept::default();
    kept.keep(b"a", value(1), at(100));
    kept.keep(b"b", value(2), at(109));
    kept.keep(b"c", value(3), at(111));

    assert_eq!(kept.find(b"b", at(112)), Some(&value(2)));
    assert_eq!(kept.find(b"a", at(112)), None, "too old, wherever it lies");
    kept.keep(b"a", value(4), at(112));
    assert_eq!(kept.find(b"a", at(112)), Some(&value(4)), "the newer one");
    kept.sweep(at(115));
    assert_eq!(kept.len(), 4, "nothing is due");
    kept.sweep(at(121));
    assert_eq!(kept.len(), 2);
    kept.sweep(at(131));
    assert_eq!(kept.len(), 0);
}

#[test]
fn neither_callers_nor_their_scopes_can_fill_the_memory() {
    let mut kept = Kept::default();
    for n in 0..3 * TOKENS_MAX {
        kept.keep(format!("caller {n}").as_bytes(), value(n), at(100));
        assert!(kept.len() <= TOKENS_MAX, "{n}");
    }
    let last = 3 * TOKENS_MAX - 1;
    assert_eq!(kept.find(format!("caller {last}").as_bytes(), at(101)), Some(&value(last)));
    assert!(kept.len() > TOKENS_MAX / 2);

    let mut kept = Kept::default();
    let large = vec![b'x'; 1 << 20];
    for n in 0..64_usize {
        kept.keep(&[&large[..], &n.to_le_bytes()].concat(), value(n), at(100));
        assert!(kept.young.bytes + kept.old.bytes <= BYTES_MAX, "{n}");
    }
    assert!(kept.len() > 7, "{}", kept.len());
}
