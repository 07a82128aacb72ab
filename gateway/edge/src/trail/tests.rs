use std::net::{IpAddr, Ipv4Addr};

use super::AddressText;

#[test]
fn addresses_are_written_as_the_formatter_writes_them() {
    let every_octet = (0..=255).map(|octet| IpAddr::V4(Ipv4Addr::new(octet, 255 - octet, octet / 3, octet / 26)));
    let v6 = ["::", "::1", "2001:db8::7", "::ffff:192.0.2.128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"];
    let v6 = v6.map(|text| text.parse::<IpAddr>().expect("an address"));

    for address in every_octet.chain(v6) {
        assert_eq!(AddressText::of(address).as_str(), address.to_string());
    }
}
