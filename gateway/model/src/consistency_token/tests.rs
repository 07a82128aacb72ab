use proptest::prelude::*;

use super::{BYTES_MAX, ConsistencyKeys, DOMAINS_MAX, DomainMark, Positions, Rejected, TEXT_BYTES_MAX, TenantMark};
use crate::{
    key_set::KeySetFault,
    position::{Lsn, Position},
    secret::SecretKey,
    time::UtcMicros,
};

const AT: UtcMicros = UtcMicros(1_800_000_000_000_000);

fn keys(names: &[(&str, u8)], signing: &str) -> ConsistencyKeys {
    made(names, signing).unwrap()
}

fn made(names: &[(&str, u8)], signing: &str) -> Result<ConsistencyKeys, KeySetFault> {
    ConsistencyKeys::new(names.iter().map(|(name, byte)| ((*name).into(), SecretKey::new([*byte; 32]))).collect(), signing)
}

fn positions(count: u8) -> Positions {
    let mut positions = Positions::default();
    for number in 0..count {
        let position = Position { epoch: u32::from(number) + 1, lsn: Lsn(u64::MAX - u64::from(number)) };
        assert!(positions.set(DomainMark::of(&format!("domain-{number}")), Some(position)));
    }
    positions
}

#[test]
fn what_was_made_is_read_by_every_node_with_the_key() {
    let tenant = TenantMark::of("shop");
    for count in 0..=8 {
        let text = keys(&[("a", 1)], "a").mint(tenant, &positions(count), AT).unwrap();
        assert!(text.len() <= TEXT_BYTES_MAX && text.len() <= 256, "{}", text.len());
        assert_eq!(keys(&[("b", 2), ("a", 1)], "b").read(text.as_bytes(), tenant), Ok(positions(count)), "after a key was replaced");
    }
    assert_eq!(TEXT_BYTES_MAX, 216);
    assert_eq!(ConsistencyKeys::default().mint(tenant, &positions(1), AT), None);
    assert!(matches!(made(&[("a", 1)], "b"), Err(KeySetFault::Unknown(_))));
    assert!(matches!(made(&[("a", 1), ("b", 1)], "b"), Err(KeySetFault::Twice(..))));
}

#[test]
fn what_was_not_made_here_is_not_taken() {
    let (own, tenant) = (keys(&[("a", 1)], "a"), TenantMark::of("shop"));
    let text = own.mint(tenant, &positions(2), AT).unwrap();
    assert_eq!(own.read(text.as_bytes(), TenantMark::of("other")), Err(Rejected::Foreign));
    assert_eq!(keys(&[("a", 2)], "a").read(text.as_bytes(), tenant), Err(Rejected::Forged));
    assert_eq!(keys(&[("b", 1)], "b").read(text.as_bytes(), tenant), Err(Rejected::KeyUnknown));
    assert_eq!(ConsistencyKeys::default().read(text.as_bytes(), tenant), Err(Rejected::KeyUnknown));
    let longer = format!("{text}AAAA");
    let long = "A".repeat(100_000);
    for bad in ["", "A", "AQ", &text[1..], &text[..text.len() - 4], &longer, &long, &format!("{text}="), &format!(" {text}"), "\u{e4}"] {
        assert!(own.read(bad.as_bytes(), tenant).is_err(), "{bad}");
    }
    // Each bit counts.
    let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let changed = data_encoding::BASE64URL_NOPAD.encode(&changed);
        assert!(own.read(changed.as_bytes(), tenant).is_err(), "bit {bit}");
    }
}

/// Entries that a token cannot hold are refused before they are counted, whoever signed them.
#[test]
fn a_ninth_domain_finds_no_room() {
    let mut full = positions(8);
    let (ninth, first) = (DomainMark::of("ninth"), DomainMark::of("domain-0"));
    let position = Position { epoch: 9, lsn: Lsn(9) };
    assert!(!full.set(ninth, Some(position)));
    assert_eq!(full, positions(8));
    assert!(full.set(ninth, None), "there is none to take out");
    assert!(full.set(first, Some(position)));
    assert_eq!(full.get(first), Some(position));
    assert!(full.set(first, None) && full.set(ninth, Some(position)));
    assert_eq!((full.get(first), full.get(ninth), full.iter().count()), (None, Some(position), DOMAINS_MAX));
}

proptest! {
    #[test]
    fn no_bytes_are_taken_or_end_the_process(bytes in proptest::collection::vec(any::<u8>(), 0..BYTES_MAX + 40), is_text in any::<bool>()) {
        let own = keys(&[("a", 1)], "a");
        let text = if is_text { bytes } else { data_encoding::BASE64URL_NOPAD.encode(&bytes).into_bytes() };
        prop_assert!(own.read(&text, TenantMark::of("shop")).is_err());
    }
}
