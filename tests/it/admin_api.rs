//! What is published about the admin API, from a node and from the program.

use std::time::Duration;

use crate::calls::{Calls, shared};
use crate::program::causeway;

#[tokio::test]
async fn a_node_publishes_the_document_that_the_program_prints() {
    let dev = shared().await;
    let calls = Calls::of(dev.ready()).unwrap();

    let printed = causeway(&["openapi"], &[], Duration::from_secs(20)).await.expect(0);
    let published = calls.control(calls.writer().unwrap(), "/v1/openapi.json").await.unwrap();

    assert!(printed.json()["openapi"] == "3.1.0" && printed.stderr.is_empty(), "{printed:?}");
    assert_eq!(
        (published.status, published.header("content-type"), published.header("cache-control")),
        (200, Some("application/json"), Some("no-cache"))
    );
    assert!(published.body == printed.stdout);
}

/// A database takes no U+0000 in a text: what holds one is refused before or by it, and never a failure of ours.
#[tokio::test]
async fn a_zero_character_is_refused_wherever_it_stands() {
    let dev = shared().await;
    let calls = Calls::of(dev.ready()).unwrap();
    let region = calls.writer().unwrap();

    for path in [
        "/v1/consumers/%00",
        "/v1/applications/%00",
        "/v1/tenants/%00",
        "/v1/plans/%00",
        "/v1/routes/%00",
        "/v1/keys/%00",
        "/v1/keys?tenant=%00",
        "/v1/keys?application=%00",
        "/v1/keys?cursor=1.%00",
        "/v1/tokens/denied?issuer=%00",
        "/v1/usage?route=%00",
        "/v1/audit/events?request_id=%00",
    ] {
        let answer = calls.control(region, path).await.unwrap();
        assert!([404, 422].contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
    }
    for (path, body) in [
        ("/v1/keys", serde_json::json!({ "name": "a", "application": "\0" })),
        ("/v1/applications", serde_json::json!({ "name": "a", "consumer": "\0" })),
        ("/v1/tokens/deny", serde_json::json!({ "issuer": "demo", "token": "\0" })),
    ] {
        let answer = calls.change(path, Some(&body)).await.unwrap();
        assert_eq!((answer.status, answer.code()), (422, "request-invalid".to_owned()), "{path}: {}", answer.body);
    }
}
