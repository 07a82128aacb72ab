use super::*;

const ISSUER: &str = "https://id.example";

fn token(id: &str) -> DenialRow {
    DenialRow { issuer: ISSUER.to_owned(), which: Denied::Token { id: id.to_owned() }, expires_at: UtcMicros(900) }
}

fn subject(subject: &str, until: i64) -> DenialRow {
    let which = Denied::Subject { subject: subject.to_owned(), issued_until: UtcMicros(until) };
    DenialRow { issuer: ISSUER.to_owned(), which, expires_at: UtcMicros(900) }
}

fn traits<'t>(subject: &'t str, id: Option<&'t str>, issued_at: Option<i64>) -> Traits<'t> {
    Traits { issuer: ISSUER, subject, id, issued_at: issued_at.map(UtcMicros) }
}

#[test]
fn a_denial_refuses_what_it_names_and_nothing_else() {
    let denials = Denials::from_rows([token("t-1"), subject("alice", 100)]);

    for (token, expected) in [
        (traits("bob", Some("t-1"), Some(500)), true),
        (traits("bob", Some("t-2"), Some(50)), false),
        (traits("bob", None, None), false),
        (traits("alice", Some("t-2"), Some(100)), true),
        (traits("alice", None, Some(101)), false),
        (traits("alice", None, None), true),
        (traits("Alice", None, None), false),
        (Traits { issuer: "https://else.example", ..traits("alice", Some("t-1"), None) }, false),
    ] {
        assert_eq!(denials.refuses(&token), expected, "{token:?}");
    }
    assert!(!Denials::default().refuses(&traits("alice", Some("t-1"), None)));
}

#[test]
fn of_two_about_the_same_what_refuses_more_stays_in_either_order() {
    for rows in [[subject("alice", 100), subject("alice", 50)], [subject("alice", 50), subject("alice", 100)]] {
        let denials = Denials::from_rows(rows);
        assert!(denials.refuses(&traits("alice", None, Some(100))) && denials.len() == 1);
    }
}

#[test]
fn rows_survive_their_way_to_the_disk() {
    let rows = [token("t-1"), subject("alice", 100)];
    let text = serde_json::to_string(&Denials::from_rows(rows.clone()).to_rows()).unwrap();
    let mut read: Vec<DenialRow> = serde_json::from_str(&text).unwrap();
    read.sort_by_key(|row| matches!(row.which, Denied::Subject { .. }));
    assert_eq!(read, rows);
}
