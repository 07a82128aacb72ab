//! What components stand for.

use super::*;

fn base_of(request: &Request, component: &str) -> Result<String, Fault> {
    let mut request = request.clone();
    request.headers.insert("signature-input", HeaderValue::from_str(&format!("s=({component})")).unwrap());
    let base = request.base()?;
    let (first, _) = base.split_once("\n\"@signature-params\": ").unwrap();
    Ok(first.to_owned())
}

fn check(request: &Request, component: &str, expected: &str) {
    assert_eq!(base_of(request, component).as_deref(), Ok(&*format!("{component}: {expected}")), "{}", request.uri);
}

#[test]
fn derived_components_are_those_of_the_request_as_it_was_sent() {
    let plain = Request::new("POST", "/path?param=value&foo=bar&baz=batman&qux=", &[("host", "WWW.Example.com:443")]);
    check(&plain, "\"@method\"", "POST");
    check(&plain, "\"@authority\"", "www.example.com");
    check(&plain, "\"@scheme\"", "https");
    check(&plain, "\"@target-uri\"", "https://www.example.com/path?param=value&foo=bar&baz=batman&qux=");
    check(&plain, "\"@request-target\"", "/path?param=value&foo=bar&baz=batman&qux=");
    check(&plain, "\"@path\"", "/path");
    check(&plain, "\"@query\"", "?param=value&foo=bar&baz=batman&qux=");
    check(&plain, "\"@query-param\";name=\"baz\"", "batman");
    check(&plain, "\"@query-param\";name=\"qux\"", "");

    let port = Request::new("GET", "/%61?", &[("host", "a.example:8443")]);
    check(&port, "\"@authority\"", "a.example:8443");
    check(&port, "\"@path\"", "/%61");
    check(&port, "\"@query\"", "?");

    let absolute = Request::new("GET", "https://a.example/path", &[("host", "a.example")]);
    check(&absolute, "\"@request-target\"", "https://a.example/path");
    check(&absolute, "\"@query\"", "?");
    let over_http2 = Request { version: Version::HTTP_2, ..Request::new("GET", "https://a.example/path", &[]) };
    check(&over_http2, "\"@request-target\"", "/path");
    check(&over_http2, "\"@authority\"", "a.example");
}

#[test]
fn query_parameters_are_encoded_anew() {
    let of = |query: &str| Request::new("GET", &format!("/parameters?{query}"), &[("host", "a")]);
    // Section 2.2.8.
    let standard = of("var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something");
    check(&standard, "\"@query-param\";name=\"var\"", "this%20is%20a%20big%0Amultiline%20value");
    check(&standard, "\"@query-param\";name=\"bar\"", "with%20plus%20whitespace");
    check(&standard, "\"@query-param\";name=\"fa%C3%A7ade%22%3A%20\"", "something");
    check(&of("a=%ff"), "\"@query-param\";name=\"a\"", "%FF");
    check(&of("a=%zz%4"), "\"@query-param\";name=\"a\"", "%25zz%254");
    for query in ["", "a=1&a=2", "a=1&%61=2", "b=1"] {
        assert_eq!(base_of(&of(query), "\"@query-param\";name=\"a\""), Err(Fault::ComponentMissing), "{query}");
    }
}

#[test]
fn fields_are_one_value_without_blanks_around_each() {
    let headers = [("host", "a"), ("x-two", "  one "), ("x-two", "two\t"), ("x-empty", ""), ("cookie", "a=1"), ("cookie", "b=2")];
    let request = Request::new("GET", "/", &headers);
    check(&request, "\"x-two\"", "one, two");
    check(&request, "\"x-empty\"", "");
    for version in [Version::HTTP_11, Version::HTTP_2] {
        check(&Request { version, ..request.clone() }, "\"cookie\"", "a=1; b=2");
    }
    check(&Request { version: Version::HTTP_2, ..request.clone() }, "\"x-two\"", "one, two");

    assert_eq!(base_of(&request, "\"x-none\""), Err(Fault::ComponentMissing));
    let mut foreign = request;
    foreign.headers.insert("x-note", HeaderValue::from_bytes(b"caf\xc3\xa9").unwrap());
    assert_eq!(base_of(&foreign, "\"x-note\""), Err(Fault::ComponentMissing), "only ASCII can be signed");
}

#[test]
fn what_is_not_spoken_is_refused() {
    let request = Request::new("GET", "/?a=1", &[("host", "a"), ("date", "now"), ("x-note", "a=1")]);
    let components = [
        "\"Date\"",
        "\"\"",
        "\"@status\"",
        "\"@signature-params\"",
        "\"@unknown\"",
        "\"@Method\"",
        "\"@query-param\"",
        "\"@query-param\";name=a",
        "\"@query-param\";name=\"a\";name=\"a\"",
        "\"@query-param\";name=\"a\";req",
        "\"@method\";req",
        "\"@method\";name=\"a\"",
        "\"x-note\";sf",
        "\"x-note\";key=\"a\"",
        "\"x-note\";bs",
        "\"x-note\";tr",
        "\"x-note\";req",
        "\"x-note\";name=\"a\"",
        "\"x-note\";x=1",
        "\"date\" \"date\"",
        "\"@query-param\";name=\"a\" \"@query-param\";name=\"a\"",
    ];
    for component in components {
        assert_eq!(base_of(&request, component), Err(Fault::ComponentRefused), "{component}");
    }
}

#[test]
fn eight_parameters_of_a_query_are_looked_for_and_no_more() {
    let request = Request::new("GET", "/?a=1&b=2&c=3&d=4&e=5&f=6&g=7&h=8&i=9", &[("host", "a")]);
    let covered = |names: &str| names.chars().map(|name| format!("\"@query-param\";name=\"{name}\"")).collect::<Vec<_>>().join(" ");
    assert!(base_of(&request, &covered("abcdefgh")).is_ok());
    assert_eq!(base_of(&request, &covered("abcdefghi")), Err(Fault::ComponentRefused));
}

#[test]
fn parameters_are_signed_in_one_form_whatever_the_blanks() {
    let mut request = Request::new("GET", "/", &[("host", "a")]);
    let written = "s=(  \"@method\"   \"@path\"  );  created=1; keyid=\"a\\\"b\\\\\";  x=?1;y=1.50;  z=:AQ==:";
    request.headers.insert("signature-input", HeaderValue::from_static(written));

    let expected = "\"@method\": GET\n\"@path\": /\n\"@signature-params\": (\"@method\" \"@path\");created=1;keyid=\"a\\\"b\\\\\";x;y=1.5;z=:AQ==:";
    assert_eq!(request.base().as_deref(), Ok(expected));
}
