use clap::Parser;
use serde_json::json;

use super::{Client, Connection, Problem, read_answer};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    connection: Connection,
}

fn connection(args: &[&str]) -> Connection {
    Line::try_parse_from([&["causeway"], args].concat()).unwrap().connection
}

fn refusal(args: &[&str]) -> String {
    format!("{:#}", Client::new(&connection(args)).unwrap_err())
}

#[test]
fn a_token_is_not_printed_for_debugging() {
    let connection = connection(&["--control", "https://127.0.0.1:9443", "--token", "cw_op_secret"]);

    assert!(!format!("{connection:?}").contains("cw_op_secret"));
}

#[test]
fn what_is_missing_is_said_with_its_remedy() {
    assert!(refusal(&["--control", "http://127.0.0.1:9443", "--token", "t"]).contains("https://"));
    assert!(refusal(&["--control", "https://127.0.0.1", "--token-file", "/nonexistent"]).contains("/nonexistent"));
    assert!(refusal(&["--control", "https://127.0.0.1", "--token", "t", "--ca", "/nonexistent"]).contains("--ca"));
}

#[test]
fn a_problem_document_is_told_with_its_code_and_every_error() {
    let document = json!({
        "status": 422, "code": "request-invalid", "detail": "see `errors`", "request_id": "r1", "region": "eu-west",
        "errors": [{ "pointer": "/name", "message": "is required" }, { "path": "routes[0]", "message": "bad", "help": "do \u{1b}[31mthat" }],
    });

    let error = read_answer(http::StatusCode::UNPROCESSABLE_ENTITY, document.to_string().as_bytes()).unwrap_err();
    let text = error.downcast_ref::<Problem>().unwrap().to_string();

    assert_eq!(
        text,
        "see `errors` (422 request-invalid)\n  /name: is required\n  routes[0]: bad; do \\u{1b}[31mthat\n  request r1 in region eu-west"
    );
}

#[test]
fn an_answer_of_something_else_is_not_taken_for_one_of_ours() {
    for (status, body) in [(200, "<html>"), (502, "bad gateway"), (404, "{\"message\": \"x\"}"), (302, "{}")] {
        let status = http::StatusCode::from_u16(status).unwrap();
        assert!(!read_answer(status, body.as_bytes()).unwrap_err().is::<Problem>(), "{body}");
    }
}
