//! What no signature gets by with.

use super::*;

fn partner() -> (Ed25519KeyPair, Arc<Signer>) {
    let key = Ed25519KeyPair::generate().unwrap();
    let signer = signer("partner", &key);
    (key, signer)
}

#[test]
fn a_signature_as_it_has_to_be_holds() {
    let (key, signer) = partner();

    let proved = judge(&order().signed(&key, &input("")), &signer, &rules(), Content::Present).unwrap();

    assert!(proved.digests.unwrap().are_of(b""));
    assert_eq!(proved.nonce, None);
    for rest in [";alg=\"ed25519\"", ";expires=1700000001", ";nonce=\"abc\""] {
        assert!(judge(&order().signed(&key, &input(rest)), &signer, &rules(), Content::Present).is_ok(), "{rest}");
    }
}

#[test]
fn whatever_is_covered_cannot_be_changed() {
    let (key, signer) = partner();
    let whole = order().signed(&key, &input(""));
    let changed = |change: &dyn Fn(&mut Request)| {
        let mut request = whole.clone();
        change(&mut request);
        judge(&request, &signer, &rules(), Content::Present).unwrap_err()
    };
    let set =
        |name: &'static str, value: &'static str| move |request: &mut Request| drop(request.headers.insert(name, HeaderValue::from_static(value)));

    let refused = [
        changed(&|request| request.method = "PUT"),
        changed(&|request| request.uri = "/order?a=1".parse().unwrap()),
        changed(&|request| request.uri = "/orders?a=2".parse().unwrap()),
        changed(&|request| request.uri = "/orders".parse().unwrap()),
        changed(&set("host", "api.example.org")),
        changed(&set("x-note", "one, three")),
        changed(&set("content-digest", "sha-256=:48DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")),
    ];
    assert_eq!(refused, [Fault::SignatureInvalid; 7]);
    assert_eq!(changed(&|request| drop(request.headers.remove("x-note"))), Fault::ComponentMissing);

    let text = whole.headers["signature-input"].to_str().unwrap().to_owned();
    for (from, to) in
        [(";created=1700000000", ";created=1700000001"), (" \"x-note\"", ""), ("\"@method\" \"@authority\"", "\"@authority\" \"@method\"")]
    {
        let refused = changed(&|request| drop(request.headers.insert("signature-input", HeaderValue::from_str(&text.replace(from, to)).unwrap())));
        assert_eq!(refused, Fault::SignatureInvalid, "{from}");
    }
}

/// A service that takes `_` for `-` would read what nobody has signed.
#[test]
fn what_reads_like_a_covered_header_must_be_covered_too() {
    let (key, signer) = partner();
    let judged = |name: &'static str, covered: &str| {
        let mut request = order();
        request.headers.insert(name, HeaderValue::from_static("three"));
        let input = input("").replace("\"x-note\"", &format!("\"x-note\"{covered}"));
        judge(&request.signed(&key, &input), &signer, &rules(), Content::Present).map(|_| ())
    };

    assert_eq!(judged("x_note", ""), Err(Fault::LookAlike));
    assert_eq!(judged("content_digest", ""), Err(Fault::LookAlike));
    assert_eq!(judged("x_note", " \"x_note\""), Ok(()));
    assert_eq!(judged("x_other", ""), Ok(()));
    assert_eq!(judged("x_other", " \"x_other\""), Ok(()));
    let mut request = order();
    for name in ["x_other", "x-other"] {
        request.headers.insert(name, HeaderValue::from_static("four"));
    }
    let input = input("").replace("\"x-note\"", "\"x-note\" \"x_other\"");
    assert_eq!(judge(&request.signed(&key, &input), &signer, &rules(), Content::Present), Err(Fault::LookAlike), "either way round");
}

#[test]
fn what_a_signature_says_about_itself_is_held_against_the_rules() {
    let (key, signer) = partner();
    let by = |input: String, rules: &Rules| judge(&order().signed(&key, &input), &signer, rules, Content::Present).unwrap_err();
    let plain = rules();
    let check = |input: String, expected: Fault| assert_eq!(by(input.clone(), &plain), expected, "{input}");

    check(format!("{COVERED};created={};keyid=\"partner\"", NOW - 61), Fault::DateWrong);
    check(format!("{COVERED};created={};keyid=\"partner\"", NOW + 6), Fault::DateWrong);
    check(format!("{COVERED};created=-999999999999999;keyid=\"partner\""), Fault::DateWrong);
    check(format!("{COVERED};created=999999999999999;keyid=\"partner\""), Fault::DateWrong);
    check(format!("{COVERED};keyid=\"partner\""), Fault::DateWrong);
    check(format!("{COVERED};created={NOW}.0;keyid=\"partner\""), Fault::ParameterRefused);
    check(format!("{COVERED};created=@{NOW};keyid=\"partner\""), Fault::ParameterRefused);
    check(format!("{COVERED};created={NOW}"), Fault::SignerUnknown);
    check(format!("{COVERED};created={NOW};keyid=\"Partner\""), Fault::SignerUnknown);
    check(format!("{COVERED};created={NOW};keyid=partner"), Fault::SignerUnknown);
    check(input(&format!(";expires={NOW}")), Fault::Expired);
    check(input(";alg=\"ecdsa-p256-sha256\""), Fault::AlgorithmWrong);
    check(input(";alg=\"Ed25519\""), Fault::AlgorithmWrong);
    check(input(";tag=\"other\""), Fault::TagWrong);
    check(input(";nonce=\"\""), Fault::NonceInvalid);
    check(input(&format!(";nonce=\"{}\"", "n".repeat(129))), Fault::NonceInvalid);
    check(input(";x=1"), Fault::ParameterRefused);
    assert_eq!(by(input(""), &Rules { nonce: Need::Required, ..rules() }), Fault::NonceMissing);
    assert_eq!(by(input(""), &Rules { tag: Some("shop".into()), ..rules() }), Fault::TagWrong);
    assert_eq!(by(input(""), &Rules { components: Box::new(["content-type".into()]), ..rules() }), Fault::NotCovered);
    for age in [60, 300] {
        let old = format!("{COVERED};created={};keyid=\"partner\"", NOW - age);
        assert!(judge(&order().signed(&key, &old), &signer, &Rules { age_seconds_max: age, ..rules() }, Content::Present).is_ok());
    }
    let ahead = format!("{COVERED};created={};keyid=\"partner\"", NOW + 5);
    assert!(judge(&order().signed(&key, &ahead), &signer, &rules(), Content::Present).is_ok());
}

#[test]
fn a_signature_covers_what_makes_a_request_that_one() {
    let (key, signer) = partner();
    let by = |covered: &str, content: Content| {
        let input = format!("({covered});created={NOW};keyid=\"partner\"");
        judge(&order().signed(&key, &input), &signer, &rules(), content).map(|_| ())
    };
    let all = ["\"@method\"", "\"@authority\"", "\"@path\"", "\"@query\""];
    for left_out in 0..all.len() {
        let covered: Vec<_> = all.iter().enumerate().filter(|(position, _)| *position != left_out).map(|(_, name)| *name).collect();
        assert_eq!(by(&covered.join(" "), Content::Absent), Err(Fault::NotCovered), "{}", all[left_out]);
    }
    assert_eq!(by(&all.join(" "), Content::Absent), Ok(()));
    assert_eq!(by(&all.join(" "), Content::Present), Err(Fault::DigestMissing));
    assert_eq!(by("\"@method\" \"@target-uri\"", Content::Absent), Ok(()));
    assert_eq!(by("\"@method\" \"@authority\" \"@request-target\"", Content::Absent), Ok(()));
    assert_eq!(by("\"@method\" \"@request-target\"", Content::Absent), Err(Fault::NotCovered));
    assert_eq!(by("\"@target-uri\"", Content::Absent), Err(Fault::NotCovered));
    assert_eq!(by("\"@method\" \"@authority\" \"@path\" \"@query-param\";name=\"a\"", Content::Absent), Err(Fault::NotCovered));
    assert_eq!(by("", Content::Absent), Err(Fault::NotCovered));
}

#[test]
fn fields_that_have_no_one_reading_are_refused() {
    let (key, signer) = partner();
    let good = order().signed(&key, &input(""));
    let (said, signature) = (good.headers["signature-input"].to_str().unwrap(), good.headers["signature"].to_str().unwrap());
    let by = |said: &str, signature: &str| {
        let mut request = good.clone();
        request.headers.insert("signature-input", HeaderValue::from_str(said).unwrap());
        request.headers.insert("signature", HeaderValue::from_str(signature).unwrap());
        judge(&request, &signer, &rules(), Content::Present).map(|_| ())
    };
    let components = |n: usize| (0..n).map(|at| format!("\"x-{at}\"")).collect::<Vec<_>>().join(" ");
    let malformed = [
        "sig".to_owned(),
        "sig=1".to_owned(),
        format!("{said},"),
        format!("{said}, {said}"),
        format!("{said};created={NOW}"),
        format!("{said};keyid=\"other\""),
        said.replace("\"@method\"", "@method"),
        said.replace("\"@method\"", "1"),
        said.replace('(', "(("),
        said.replace(')', ""),
        format!("{said}, a=(), b=(), c=(), d=()"),
        format!("{said}, a=({})", components(33)),
    ];
    for said in malformed {
        assert_eq!(by(&said, signature), Err(Fault::Malformed), "{said}");
    }
    assert_eq!(by(&format!("{said}, a=({}), b=();x;y=\"z\", c=(\"odd\";sf)", components(32)), signature), Ok(()), "others are somebody else's");
    assert_eq!(by(said, &format!("{signature}, other=:AQ==:")), Ok(()));
    assert_eq!(by(said, "other=:AQ==:"), Err(Fault::SignatureMissing));
    for signature in ["", "sig", "sig=1", "sig=\"AQ==\"", "sig=:AQ=", "sig=:!!!!:", "sig=(:AQ==:)", "sig=:AQ==:, sig=:AQ==:", "sig=:AQ==:;a=1"] {
        assert!(matches!(by(said, signature), Err(Fault::Malformed | Fault::SignatureMissing)), "{signature}");
    }
    assert_eq!(by("", signature), Err(Fault::SignerUnknown));
    assert_eq!(by(said, "sig=:AQ==:"), Err(Fault::SignatureInvalid));
    assert_eq!(by(&format!("{said}, again={}", input("")), signature), Err(Fault::SignerAmbiguous));
    assert_eq!(by(said, &"a".repeat(8 << 10)), Err(Fault::TooLong));
}

#[test]
fn a_key_that_is_not_the_signers_signs_for_nobody() {
    let (_, signer) = partner();
    let (other, _) = partner();

    assert_eq!(judge(&order().signed(&other, &input("")), &signer, &rules(), Content::Present), Err(Fault::SignatureInvalid));
}

#[test]
fn nonces_of_two_signers_are_two() {
    let (key, one) = partner();
    let two = signer("other", &key);
    let nonce = |signer: &Arc<Signer>, nonce: &str| {
        let input = format!("{COVERED};created={NOW};keyid=\"{}\";nonce=\"{nonce}\"", signer.name);
        judge(&order().signed(&key, &input), signer, &rules(), Content::Present).unwrap().nonce.unwrap()
    };

    assert_eq!(nonce(&one, "a"), nonce(&one, "a"));
    assert_ne!(nonce(&one, "a"), nonce(&one, "b"));
    assert_ne!(nonce(&one, "a"), nonce(&two, "a"));
}

#[test]
fn digests_that_say_nothing_are_none() {
    let of = |fields: &[&str]| {
        let fields: Vec<_> = fields.iter().map(|value| ("content-digest", *value)).collect();
        Digests::of(&Request::new("GET", "/", &fields).headers)
    };
    let empty = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
    let wrong = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    assert!(of(&[empty]).unwrap().are_of(b""));
    assert!(of(&["md5=:AQ==:", empty]).unwrap().are_of(b""));
    assert!(!of(&[empty, wrong]).unwrap().are_of(b""), "all that are known must be right");
    for fields in [&[][..], &[""], &["md5=:AQ==:"], &["sha-256=:AQ==:"], &["sha-256=x"], &["sha-256=:AQ==:;a"], &[empty, empty], &["SHA-256=:AQ==:"]]
    {
        assert_eq!(of(fields), Err(Fault::DigestInvalid), "{fields:?}");
    }
}
