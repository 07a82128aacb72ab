//! Which addresses are public. A document's author must not be able to have the gateway ask servers that only it can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of the public Internet, by the registries of RFC 6890.
pub(super) const fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public_v4(mapped),
            None => is_public_v6(address),
        },
    }
}

const fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

const fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let bits = address.to_bits();
    if bits >> 32 == 0x0064_ff9b_0000_0000_0000_0000 {
        // Translated to IPv4 (RFC 6052).
        #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are the address")]
        return is_public_v4(Ipv4Addr::from_bits(bits as u32));
    }
    // Everything outside 2000::/3 is reserved, local or multicast; inside, 6to4 and Teredo lead to other addresses.
    let is_global = first & 0xe000 == 0x2000;
    let is_special = first == 0x2002 || first == 0x2001 && (second < 0x200 || second == 0xdb8) || first == 0x3fff && second < 0x1000;
    is_global && !is_special
}

#[cfg(test)]
mod tests;
