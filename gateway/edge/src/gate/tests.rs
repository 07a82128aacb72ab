use super::*;

#[test]
fn a_prefix_that_keeps_failing_is_refused_counted_and_forgiven() {
    let gate = PeerGate::new(Rate::parse("10/s").unwrap(), None);
    let (bad, neighbor, other): (IpAddr, IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 77].into(), [198, 51, 100, 1].into());
    let now = BootNanos(1_000_000_000_000);

    for _ in 0..10 {
        assert!(gate.check(bad, now).is_ok());
        gate.failed(bad, now);
    }

    assert!(gate.check(bad, now).is_err());
    assert!(gate.check(neighbor, now).is_err(), "the same /24");
    assert!(gate.check(other, now).is_ok());
    assert_eq!(gate.take_refused(now), vec![(Prefix::of(bad), 2)]);
    let later = BootNanos(now.0 + 2_000_000_000);
    assert!(gate.check(bad, later).is_ok());
    assert!(gate.take_refused(later).is_empty());
}

#[test]
fn prefixes_are_24_and_64_bits_and_mapped_addresses_are_ipv4() {
    let mapped: IpAddr = "::ffff:192.0.2.9".parse().unwrap();
    assert_eq!(Prefix::of(mapped).address().to_string(), "192.0.2.0");
    assert_eq!(Prefix::of("2001:db8:1:2:3:4:5:6".parse().unwrap()).address().to_string(), "2001:db8:1:2::");
}
