//! Fields that somebody has damaged on the way.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn damaged_fields_get_nobody_in(
        at in 0_usize..400, byte in 0x20_u8..0x7f, is_input in any::<bool>(), how in 0_u8..3,
    ) {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let signer = signer("partner", &key);
        let good = order().signed(&key, &input(";nonce=\"n\""));
        let name = if is_input { "signature-input" } else { "signature" };
        let before = good.headers[name].as_bytes().to_vec();
        let mut text = before.clone();
        let at = at % text.len();
        match how {
            0 => text[at] = byte,
            1 => text.insert(at, byte),
            _ => drop(text.remove(at)),
        }
        prop_assume!(text != before);
        let mut damaged = good.clone();
        damaged.headers.insert(name, HeaderValue::from_bytes(&text).unwrap());

        if let Ok(proved) = judge(&damaged, &signer, &rules(), Content::Present) {
            // Another text for the same: blanks, and base64 whose last bits count for nothing.
            let of = |request: &Request| (request.base().unwrap(), Fields::of(&request.headers).unwrap().signatures().unwrap().of("sig"));
            prop_assert_eq!(of(&damaged), of(&good));
            prop_assert!(proved.nonce.is_some());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(input in "[ -~]{0,200}", signature in "[ -~]{0,100}") {
        let mut request = order();
        request.headers.insert("signature-input", HeaderValue::from_str(&input).unwrap());
        request.headers.insert("signature", HeaderValue::from_str(&signature).unwrap());
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();

        prop_assert!(judge(&request, &signer("partner", &key), &rules(), Content::Present).is_err());
    }
}
