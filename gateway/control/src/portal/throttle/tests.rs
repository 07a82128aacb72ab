use super::*;

fn from(address: &str) -> PeerAddress {
    PeerAddress(address.parse().unwrap())
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn guesses_from_one_place_end_there_and_the_owner_elsewhere_gets_in() {
    let throttle = Throttle::default();
    let admitted = (0..40).filter(|_| throttle.sign_in("ann@example.com", Some(from("192.0.2.7")), BootNanos(SECOND)).is_ok()).count();
    assert_eq!(admitted, 10);
    throttle.sign_in("ann@example.com", Some(from("198.51.100.1")), BootNanos(SECOND)).unwrap();
    throttle.own_password(uuid::Uuid::nil(), BootNanos(SECOND)).unwrap();
    let refusal = throttle.sign_in("ann@example.com", Some(from("192.0.2.7")), BootNanos(SECOND)).unwrap_err();
    assert_eq!((refusal.kind().status().as_u16(), refusal.retry_after()), (429, Some(60)));
    throttle.sign_in("ann@example.com", Some(from("192.0.2.7")), BootNanos(61 * SECOND)).unwrap();
}

#[test]
fn guesses_from_everywhere_are_bounded_for_each_account() {
    let throttle = Throttle::default();
    let guess = |n: u32| throttle.sign_in("ann@example.com", Some(PeerAddress(IpAddr::V4(n.into()))), BootNanos(SECOND)).is_ok();
    assert_eq!((0..1_000).filter(|n| guess(*n)).count(), 100);
}

#[test]
fn addresses_of_one_network_are_one_and_too_many_networks_share_a_bucket() {
    let throttle = Throttle::default();
    let admitted = (0..50).filter(|n| throttle.stranger(Some(from(&format!("2001:db8::{n:x}"))), BootNanos(SECOND)).is_ok()).count();
    assert_eq!(admitted, 20);
    for n in 1..u32::try_from(KNOWN_MAX).unwrap() {
        throttle.stranger(Some(PeerAddress(IpAddr::V4(n.into()))), BootNanos(SECOND)).ok();
    }
    let late = |n: u32| throttle.stranger(Some(PeerAddress(IpAddr::V4((n + 1_000_000).into()))), BootNanos(SECOND)).is_ok();
    assert_eq!((0..100).filter(|n| late(*n)).count(), 20, "those for whom there is no place share one");
    assert!(throttle.networks.cells.lock().unwrap().len() <= KNOWN_MAX);
    assert!(
        (0..100).all(|n| throttle.stranger(Some(PeerAddress(IpAddr::V4((n + 2_000_000_u32).into()))), BootNanos(1_000 * SECOND)).is_ok()),
        "idle ones make room"
    );
}
