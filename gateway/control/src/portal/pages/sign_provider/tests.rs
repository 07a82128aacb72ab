use super::{Answer, name_of};

#[test]
fn an_answer_of_a_provider_says_each_thing_once() {
    let read = |query: &str| Answer::read(query).map(|answer| (answer.state, answer.code, answer.issuer));
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(read("code=a%2Fb&state=s&iss=https%3A%2F%2Fa&x=1&x=2"), Some(("s".to_owned(), text("a/b"), text("https://a"))));
    assert_eq!(read("error=access_denied&state=s"), Some(("s".to_owned(), None, None)));
    let long = format!("state=s&code={}", "a".repeat(2_049));
    for bad in
        ["", "code=a", "state=s&state=t&code=a", "state=s&code=a&code=b", "state=s&code=a&iss=b&iss=c", "state=s&code=", "state=s&code=a%0a", &long]
    {
        assert!(Answer::read(bad).is_none(), "{bad}");
    }
}

#[test]
fn a_name_is_one_line_and_there_is_always_one() {
    assert_eq!(name_of(Some(" Ann\n Bell "), "ann@example.com"), "Ann Bell");
    assert_eq!((name_of(None, "ann@example.com"), name_of(Some(" \t"), "bob@example.com")), ("ann".to_owned(), "bob".to_owned()));
    assert_eq!(name_of(Some(&"x".repeat(500)), "a@b.c").len(), 80);
}
