use super::report::Report;

const SUMMARY: &str = r#"{ "complete": true, "errors": [], "failures": [{ "type": "AcceptedNegativeData", "count": 1 }] }"#;
const EVENT: &str = r#"{ "ScenarioFinished": { "recorder": {
    "cases": {
        "a": { "value": { "method": "GET", "path": "/v1/keys", "query": { "limit": "0" } } },
        "b": { "value": { "method": "DELETE", "path": "/v1/keys" } } },
    "interactions": { "a": { "response": { "status_code": 200 } }, "b": { "response": { "status_code": 405 } } },
    "checks": {
        "a": [{ "name": "negative_data_rejection", "status": "failure", "failure_info": { "failure": { "title": "taken", "message": "it\nis" } } }],
        "b": [{ "name": "unsupported_method", "status": "success" }] } } } }"#;

fn lines(events: &[&str]) -> String {
    events.iter().map(|event| event.replace('\n', " ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn requests_are_counted_and_failed_checks_told() {
    let report = Report::read(SUMMARY, &lines(&[r#"{ "PhaseStarted": {} }"#, EVENT])).unwrap();

    assert_eq!((report.sent, report.accepted, report.failures(), report.is_complete), (2, 1, 1, true));
    assert!(report.tried.contains("DELETE /v1/keys") && !report.done.contains("DELETE /v1/keys") && report.done.contains("GET /v1/keys"));
    assert_eq!(report.sentences(), r#"GET /v1/keys answered 200: negative_data_rejection; taken; it is; query {"limit":"0"}"#);
}

/// A report whose parts do not fit together must not read as one without failures.
#[test]
fn failures_that_only_the_summary_has_count_and_a_broken_run_is_not_complete() {
    assert_eq!(Report::read(SUMMARY, "").unwrap().failures(), 1);
    assert!(!Report::read(r#"{ "complete": false, "errors": [], "failures": [] }"#, "").unwrap().is_complete);
    assert!(!Report::read(r#"{ "complete": true, "errors": [{}], "failures": [] }"#, "").unwrap().is_complete);
    assert!(Report::read("", "").is_err());
}
