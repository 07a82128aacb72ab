use http::Method;

use super::*;
use crate::portal::catalogue::Body;

fn operation() -> Operation {
    let parameter = |name: &str, place, is_required| Parameter {
        name: name.to_owned(),
        place,
        is_required,
        about: String::new(),
        kind: "string".to_owned(),
        example: "x".to_owned(),
    };
    Operation {
        id: "op".to_owned(),
        method: Method::POST,
        path: "/v1/items/{id}".to_owned(),
        summary: "Op".to_owned(),
        about: String::new(),
        is_deprecated: false,
        parameters: vec![parameter("id", Place::Path, true), parameter("q", Place::Query, false), parameter("X-Note", Place::Header, false)],
        body: Some(Body { media_type: "application/json".to_owned(), example: "{}".to_owned() }),
        responses: Vec::new(),
        origin: "https://api.example:8443".to_owned(),
        scopes: Vec::new(),
        proofs: vec!["API key".to_owned()],
        limits: Vec::new(),
    }
}

fn call(values: [&str; 3], body: &str) -> Call {
    Call { values: values.map(str::to_owned).to_vec(), body: body.to_owned() }
}

#[test]
fn values_stay_in_their_places() {
    let target = |values| target(&operation(), &call(values, "").values);
    assert_eq!(target(["a/../b?c#d", "", ""]), "/v1/items/a%2F..%2Fb%3Fc%23d");
    assert_eq!(target(["é", "1&x=2", ""]), "/v1/items/%C3%A9?q=1%26x%3D2");
    let request = request(&operation(), &call(["7", "two words", "note"], "{}"), "cw_test_key").unwrap();
    assert_eq!(request.uri(), "/v1/items/7?q=two%20words");
    let header = |name: &str| request.headers().get(name).unwrap().to_str().unwrap();
    assert_eq!(
        (header("host"), header("x-api-key"), header("x-note"), header("content-type")),
        ("api.example:8443", "cw_test_key", "note", "application/json")
    );
}

#[test]
fn a_call_that_cannot_be_made_is_refused_before_it_is() {
    let wrong = |values, key: &str| request(&operation(), &call(values, ""), key).unwrap_err();
    assert!(wrong(["", "", ""], "k").of("call").unwrap().contains("`id`"));
    assert!(wrong(["1", "", "a\r\nHost: b"], "k").of("call").is_some());
    assert!(wrong(["1", "", ""], "k\r\nx: y").of("key").is_some());
    let mut framing = operation();
    framing.parameters = vec![Parameter { name: "Transfer-Encoding".to_owned(), place: Place::Header, ..operation().parameters.remove(2) }];
    let call = Call { values: vec!["chunked".to_owned()], body: String::new() };
    assert!(request(&framing, &call, "").unwrap_err().of("call").is_some());
}

#[test]
fn a_command_means_to_a_shell_what_the_form_says() {
    let command = curl(&operation(), &call(["it's", "$HOME", "`id`"], "{\"a\": \"it's\"}"), KEY_VARIABLE);
    let lines: Vec<_> = command.split(" \\\n  ").collect();
    assert_eq!(
        lines,
        [
            "curl --request POST 'https://api.example:8443/v1/items/it%27s?q=%24HOME'",
            "--header \"X-Api-Key: $CAUSEWAY_KEY\"",
            "--header 'X-Note: `id`'",
            "--header 'Content-Type: application/json'",
            r#"--data-raw '{"a": "it'\''s"}'"#,
        ]
    );
}
