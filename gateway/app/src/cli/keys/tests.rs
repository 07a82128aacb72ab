use clap::Parser;
use model::secret::SecretText;

use serde_json::json;

use super::{KeysArgs, create::seconds, hint, key_id, shown};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    keys: KeysArgs,
}

fn parse(args: &[&str]) -> Result<Line, String> {
    Line::try_parse_from([&["keys"], args].concat()).map_err(|error| error.to_string())
}

#[test]
fn a_key_may_be_named_with_or_without_the_flag_but_once() {
    assert!(parse(&["create", "ci"]).is_ok());
    assert!(parse(&["create", "--name", "ci"]).is_ok());
    assert!(parse(&["create", "ci", "--name", "ci"]).is_err());
    assert!(parse(&["create"]).is_err());
    assert!(parse(&["create", "ci", "--scope", "a", "--no-scopes"]).is_err());
}

#[test]
fn lifetimes_are_spans_or_seconds() {
    assert_eq!(seconds("90d"), Ok(7_776_000));
    assert_eq!(seconds("3600"), Ok(3_600));
    assert!(seconds("soon").is_err());
}

#[test]
fn what_is_changed_is_named_and_not_set_and_reset_at_once() {
    assert!(parse(&["change", "7sEgbYf9hQ2x", "--reset", "routes", "--method", "GET"]).is_ok());
    assert!(parse(&["change", "7sEgbYf9hQ2x", "--reset", "everything"]).is_err());
    assert!(parse(&["change", "7sEgbYf9hQ2x", "--scope", "a", "--no-scopes"]).is_err());
    assert!(parse(&["roll", "7sEgbYf9hQ2x", "--overlap", "soon"]).is_err());
}

/// A whole key on the command line must not come back on the screen, where logs of pipelines keep it.
#[test]
fn a_whole_key_in_the_place_of_an_id_is_refused_and_not_repeated() {
    let peppers = model::key::Peppers::new([(1, model::secret::SecretKey::new([3; 32]))]).unwrap();
    let issued = model::key::issue(model::key::Purpose::Live, &peppers, &[7; 32], &[9; 32]).unwrap();
    let line = parse(&["revoke", issued.text.expose_secret()]).unwrap();

    let refusal = format!("{:#}", key_id(&issued.text).unwrap_err());

    assert!(!refusal.contains(&issued.text.expose_secret()[20..]), "{refusal}");
    assert!(!format!("{line:?}").contains(&issued.text.expose_secret()[20..]));
    assert_eq!(key_id(&SecretText::new(issued.id.to_string())).unwrap(), issued.id);
    assert!(key_id(&SecretText::new("../status".to_owned())).is_err());
}

#[test]
fn an_imported_key_is_recognized_by_its_source_and_said_to_wait_while_it_does() {
    let key = |waits: bool, last_four: &str| json!({ "prefix": "cw_live_", "last_four": last_four, "imported": { "from": "kong", "source_id": "k-1", "awaits_first_use": waits } });
    for (waits, expected) in [(true, "kong k-1 (imported, not yet used)"), (false, "kong k-1")] {
        assert_eq!((hint(&key(waits, "")), shown(&key(waits, ""), "imported")), (expected.to_owned(), expected.to_owned()));
    }
    // One that was rolled before its first use waits all the same.
    assert_eq!(hint(&key(true, "3kQz")), "cw_live_…3kQz (imported, not yet used)");
    assert_eq!(hint(&key(false, "3kQz")), "cw_live_…3kQz");
    let ours = json!({ "prefix": "cw_live_", "last_four": "3kQz", "imported": null });
    assert_eq!((hint(&ours), shown(&ours, "imported")), ("cw_live_…3kQz".to_owned(), "-".to_owned()));
}
