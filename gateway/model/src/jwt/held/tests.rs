use super::*;

#[test]
fn tokens_are_found_wherever_they_stand_and_what_only_looks_alike_is_not() {
    let encoded = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let token = |header: &str| format!("{}.{}.{}", encoded(header), encoded("{\"sub\":\"a\"}"), encoded(&"s".repeat(64)));
    let usual = token("{\"alg\":\"ES256\"}");
    for text in [
        usual.clone(),
        token("{ \"alg\" : \"none\" }"),
        token("{\n\"alg\":\"ES256\"\n}"),
        format!("/orders/{usual}"),
        format!("/orders/{usual}/x?y=z"),
        format!("curl/8 ({usual})"),
        format!("session={usual}; theme=dark"),
        usual.replace('.', "%2E"),
        format!("{}..{}.{}.{}", encoded("{\"alg\":\"dir\"}"), encoded("twelve bytes"), encoded("sealed"), encoded("sixteen bytes tag")),
    ] {
        assert!(is_held_by(&text), "{text}");
    }
    for text in [
        "",
        "ey",
        "ey.ey.ey",
        "/money/jersey.journey.internal-services.example",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
        "www.greyhoundtracks.example.internal-services.example",
        &usual[..usual.rfind('.').unwrap() + 15],
        &usual.replace('.', "/"),
        &usual[1..],
    ] {
        assert!(!is_held_by(text), "{text}");
    }
}

/// What `data-encoding` says of every beginning, for texts in which one letter is changed or cut away.
#[test]
fn a_header_is_recognized_by_its_two_ends() {
    let slow = |header: &str| {
        (0..header.len()).any(|at| {
            let rest = &header[at..];
            (rest.starts_with("ey") || rest.starts_with("ew")) && BASE64URL_NOPAD.decode(rest.as_bytes()).is_ok_and(|decoded| decoded.ends_with(b"}"))
        })
    };
    let (mut found, mut not) = (0, 0);
    for text in ["{\"alg\":\"ES256\"}", "{\"a\":1}", "{ \"a\":10}", "x{\"a\":100}", "{\"a\":{}}}", "ey{\"a\"}"] {
        let encoded = BASE64URL_NOPAD.encode(text.as_bytes());
        for cut in 0..encoded.len() {
            for (before, after) in [("", ""), ("e", ""), ("ey", ""), ("Q", ""), ("00", ""), ("---", ""), ("", "e"), ("", "0"), ("", "fQ")] {
                let header = format!("{before}{}{after}", &encoded[cut..]);
                assert_eq!(ends_like_a_header(header.as_bytes()), slow(&header), "{header}");
                *(if slow(&header) { &mut found } else { &mut not }) += 1;
            }
        }
    }
    assert!(found > 15 && not > 200, "{found} {not}");
}

/// A head that was made to be long to look at: each of its bytes could begin a token.
#[test]
fn a_text_of_beginnings_is_looked_at_once() {
    for text in ["ey".repeat(1 << 20), format!("{}.a.{}", "ey".repeat(1 << 20), "a".repeat(16)), format!("%41{}", "ey.".repeat(1 << 20))] {
        assert!(!is_held_by(&text));
    }
}
