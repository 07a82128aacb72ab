use serde_json::json;

use super::*;

fn entry(source: &str) -> Object<Entry> {
    serde_json::from_value(json!({ "source_id": source, "hash": "ab".repeat(32) })).unwrap()
}

fn told(imported: Option<Imported>, losses: &[Loss], is_dry: bool) -> (Outcome, Option<KeyId>, Vec<Loss>) {
    let entry = entry("k-1");
    let mut readings = entry::read(std::slice::from_ref(&entry), &[], model::time::UtcMicros(0));
    let reading = Reading { losses: losses.to_vec(), ..readings.remove(0) };
    let shown = reported(&entry.0, reading, || imported, is_dry);
    (shown.outcome, shown.id, shown.losses.into_iter().map(|loss| loss.code).collect())
}

#[test]
fn the_report_tells_what_happened_now_and_nothing_else() {
    let id = KeyId::parse("AbCdEf123456").unwrap();
    let lost = [Loss::RateLimit];

    assert_eq!(told(Some(Imported::Now(id)), &lost, false), (Outcome::Imported, Some(id), lost.to_vec()));
    assert_eq!(told(Some(Imported::Now(id)), &lost, true), (Outcome::Imported, None, lost.to_vec()), "a dry run makes no id");
    assert_eq!(told(Some(Imported::Before(id)), &lost, false), (Outcome::Before, Some(id), vec![]));
    assert_eq!(told(Some(Imported::Differs(id)), &lost, false), (Outcome::Before, Some(id), vec![Loss::HashDiffers]));
    assert_eq!(told(Some(Imported::Taken), &lost, false), (Outcome::Refused, None, vec![Loss::Duplicate]));
    assert_eq!(told(Some(Imported::Crowded), &lost, false), (Outcome::Refused, None, vec![Loss::PrefixCrowded]));
    assert_eq!(told(None, &lost, false).0, Outcome::Refused);
}
