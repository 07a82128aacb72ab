//! Signatures that look like one.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let world = &*WORLD;
    let changed = |text: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let mut signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
        change(&mut signature);
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    };
    let mut cases = Vec::new();
    let tokens = [
        ("ES256", valid(&world.p256, Algorithm::Es256)),
        ("ES384", valid(&world.p384, Algorithm::Es384)),
        ("RS256", valid(&world.rsa, Algorithm::Rs256)),
        ("PS256", valid(&world.rsa, Algorithm::Ps256)),
        ("EdDSA", valid(&world.ed, Algorithm::EdDsa)),
    ];
    for (name, text) in &tokens {
        let mut add =
            |what: &str, change: &dyn Fn(&mut Vec<u8>)| cases.push(case(format!("{name}: {what}"), changed(text, change), Reason::SignatureInvalid));
        // CVE-2022-21449: a signature of zeros was valid for every message and key.
        add("all zeros", &|signature| signature.fill(0));
        add("all ones", &|signature| signature.fill(0xFF));
        add("one byte", &|signature| signature.truncate(1));
        add("the last byte missing", &|signature| signature.truncate(signature.len() - 1));
        add("the first byte missing", &|signature| *signature = signature[1..].to_vec());
        add("a zero behind", &|signature| signature.push(0));
        add("a zero before", &|signature| signature.insert(0, 0));
        add("twice", &|signature| signature.extend_from_within(..));
        add("the first bit", &|signature| signature[0] ^= 0x80);
        add("the last bit", &|signature| *signature.last_mut().unwrap() ^= 1);
        add("both halves changed over", &|signature| {
            let half = signature.len() / 2;
            signature.rotate_left(half);
        });
    }
    let es256 = &tokens[0].1;
    let mut add =
        |what: &str, change: &dyn Fn(&mut Vec<u8>)| cases.push(case(format!("ES256: {what}"), changed(es256, change), Reason::SignatureInvalid));
    add("r is zero", &|signature| signature[..32].fill(0));
    add("s is zero", &|signature| signature[32..].fill(0));
    add("as DER", &|signature| *signature = ecdsa_der(signature));
    add("coordinates of 33 bytes", &|signature| {
        signature.insert(32, 0);
        signature.insert(0, 0);
    });
    // Ed25519 has one valid s; s plus the group's order is the same to a careless verifier (RFC 8032 §5.1.7).
    cases.push(case("EdDSA: s and the order", changed(&tokens[4].1, &|signature| add_order(signature)), Reason::SignatureInvalid));
    let (first, second) = (base(), with_claim("sub", json!("bob")));
    let (signed, _) = second.rsplit_once('.').unwrap();
    cases.push(case("the signature of another token", format!("{signed}.{}", first.rsplit_once('.').unwrap().1), Reason::SignatureInvalid));
    let other = token(&world.attacker, Algorithm::Es256, &header(Algorithm::Es256, "p256").to_string(), &claims().to_string());
    cases.push(case("the signature of another key", other, Reason::SignatureInvalid));
    cases
}

/// `r || s` as a DER sequence of two integers.
fn ecdsa_der(fixed: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let digits: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
        let sign = if digits[0] & 0x80 == 0 { vec![] } else { vec![0] };
        let content = [sign, digits].concat();
        [vec![2, u8::try_from(content.len()).unwrap()], content].concat()
    };
    let content = [integer(&fixed[..32]), integer(&fixed[32..])].concat();
    [vec![0x30, u8::try_from(content.len()).unwrap()], content].concat()
}

fn add_order(signature: &mut [u8]) {
    const ORDER: [u8; 32] = [
        0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0x10,
    ];
    let mut carry = 0;
    for (byte, digit) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(digit) + carry;
        *byte = u8::try_from(sum % 256).unwrap();
        carry = sum / 256;
    }
}
