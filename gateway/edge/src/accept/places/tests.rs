use std::num::NonZeroU32;

use super::Places;

#[test]
fn address_holds_as_many_connections_as_it_may_and_gets_each_place_back() {
    let places = Places::new(NonZeroU32::new(2).unwrap());
    let address = |text: &str| text.parse().unwrap();

    let first = places.take(address("198.51.100.7")).unwrap();
    let second = places.take(address("::ffff:198.51.100.7")).unwrap();
    assert!(places.take(address("198.51.100.7")).is_none(), "the mapped form is the same address");
    assert!(places.take(address("198.51.100.8")).is_some(), "others are not concerned");
    drop(first);
    let third = places.take(address("198.51.100.7"));
    assert!(third.is_some() && places.take(address("198.51.100.7")).is_none());

    let held = (places.take(address("2001:db8::1")), places.take(address("2001:db8::ffff:1")));
    assert!(held.0.is_some() && held.1.is_some());
    assert!(places.take(address("2001:db8::2")).is_none(), "a /64 is one machine");
    assert!(places.take(address("2001:db8:0:1::2")).is_some());

    drop((second, third, held));
    assert!(places.taken.lock().is_empty(), "nothing is remembered of those that have gone");
}
