//! What came up when the claim `admin-api` was made: requests that were read more kindly, or less, than the document says.

use axum::body::Body;
use serde_json::json;

use super::fixture::{Fixture, ask, post, request, send};

const KEY: &str = "/v1/keys/0123456789ab";

#[tokio::test]
async fn what_takes_no_parameters_refuses_them() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");
    let check = async |method: &str, path: &str| {
        let problem = ask(&fixture, method, path, Some(&token)).await.assert_problem(422, "request-invalid");
        assert_eq!(problem["errors"][0]["in"], "query", "{method} {path}");
        ask(&fixture, method, path, None).await.assert_problem(401, "credentials-missing");
    };

    check("GET", &format!("{KEY}?verbose=true")).await;
    check("POST", &format!("{KEY}/approve?x")).await;
    check("POST", &format!("{KEY}/revoke?wait=true")).await;
    check("POST", "/v1/keys?x=1").await;
    check("GET", "/v1/consumers/acme?x=1").await;
    check("DELETE", "/v1/consumers/acme?force=1").await;
    check("GET", "/v1/routes/orders?x=1").await;
    for path in ["/v1/problems?x=1", "/v1/openapi.json?x=1"] {
        ask(&fixture, "GET", path, None).await.assert_problem(422, "request-invalid");
    }
    assert_eq!(ask(&fixture, "GET", "/livez?probe=1", None).await.status, 200);
}

#[tokio::test]
async fn a_body_that_may_be_left_out_is_json_when_it_is_there() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");
    let check = async |path: &str, content_type: Option<&str>, body: &'static str, status: u16, code: &str| {
        let mut builder = request("POST", path).header("authorization", format!("Bearer {token}"));
        if let Some(content_type) = content_type {
            builder = builder.header("content-type", content_type);
        }
        send(fixture.router(), builder.body(Body::from(body)).unwrap()).await.assert_problem(status, code);
    };

    for step in ["roll", "end-overlap", "approve", "disable", "enable", "revoke"] {
        let path = format!("{KEY}/{step}");
        check(&path, Some("text/plain"), "{}", 415, "content-type-unsupported").await;
        check(&path, None, "{}", 415, "content-type-unsupported").await;
        check(&path, Some("application/json"), "{}", 503, "database-unavailable").await;
        check(&path, Some("text/plain"), "", 503, "database-unavailable").await;
        check(&path, None, "", 503, "database-unavailable").await;
    }
}

/// Of an array the decoder would take the members in the order in which they stand in our code.
#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");
    let key = r#"["ci",null,null,null,null,null,null,null,"live",false]"#;
    let bodies = [("/v1/keys", key), ("/v1/consumers", r#"["acme",null]"#), ("/v1/cache/purge", r#"[[],"orders",null]"#)];
    let steps = ["roll", "end-overlap", "approve", "disable", "enable", "revoke"].map(|step| (format!("{KEY}/{step}"), "[]"));
    let all = bodies.map(|(path, body)| (path.to_owned(), body)).into_iter().chain(steps);

    for (path, body) in all.chain(["null", "3", "\"x\"", " [true]"].map(|body| ("/v1/keys".to_owned(), body))) {
        let problem = post(&fixture, &path, &token, body).await.assert_problem(422, "request-invalid");
        assert_eq!(problem["errors"], json!([{ "pointer": "", "keyword": "type", "message": "must be an object" }]), "{path} {body}");
    }
    let entry = r#"{"application":"a","from":"b","keys":[["k-1",null,null,"x",null,null,false,null]]}"#;
    let problem = post(&fixture, "/v1/keys/import", &token, entry).await.assert_problem(422, "request-invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/keys/0", "{problem}");
    let none = post(&fixture, "/v1/keys/import", &token, r#"{"application":"a","from":"b","keys":[]}"#).await.assert_problem(422, "request-invalid");
    assert_eq!(none["errors"][0]["pointer"], "/keys", "{none}");
    post(&fixture, "/v1/keys", &token, "[").await.assert_problem(400, "request-malformed");
    for path in ["/v1/check", "/v1/apply"] {
        let problem = post(&fixture, path, &token, "[1]").await.assert_problem(422, "document-invalid");
        assert_eq!(problem["errors"], json!([{ "path": "", "message": "must be an object" }]));
    }
}

#[tokio::test]
async fn a_body_with_two_content_types_is_refused() {
    let fixture = Fixture::new();
    let builder = request("POST", "/v1/keys").header("authorization", format!("Bearer {}", fixture.token("admin")));
    let builder = builder.header("content-type", "application/json").header("content-type", "text/plain");

    let answer = send(fixture.router(), builder.body(Body::from(r#"{"name":"ci"}"#)).unwrap()).await;

    answer.assert_problem(415, "content-type-unsupported");
}

/// JSON Schema has one kind of number: what is whole is an integer, however it is written.
#[tokio::test]
async fn a_whole_number_is_taken_however_it_is_written() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");
    let check = async |number: &str, status: u16, code: &str| {
        let body = format!(r#"{{"name":"ci","expires_in":{number}}}"#);
        post(&fixture, "/v1/keys", &token, body).await.assert_problem(status, code)
    };

    for number in ["60", "60.0", "6e1", "null"] {
        check(number, 503, "database-unavailable").await;
    }
    for number in ["60.5", "-60", "-60.0", "1e300", "4294967356", "\"60\"", "true", "[60]"] {
        let problem = check(number, 422, "request-invalid").await;
        let error = &problem["errors"][0];
        assert_eq!((&error["pointer"], &error["keyword"]), (&json!("/expires_in"), &json!("type")), "{number}");
        assert_eq!(error["message"], "must be a whole number from 0 to 4294967295");
    }
    post(&fixture, &format!("{KEY}/roll"), &token, r#"{"overlap":3600.0}"#).await.assert_problem(503, "database-unavailable");
}

#[tokio::test]
async fn a_cursor_that_cannot_be_ours_is_refused() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");

    for path in ["/v1/keys?cursor=", "/v1/tenants?cursor=", "/v1/routes?cursor=", "/v1/routes?cursor=%C3%AB", "/v1/routes?cursor=A"] {
        let problem = ask(&fixture, "GET", path, Some(&token)).await.assert_problem(422, "request-invalid");
        assert_eq!(problem["errors"][0]["name"], "cursor", "{path}");
    }
    ask(&fixture, "GET", "/v1/routes?cursor=orders", Some(&token)).await.assert_problem(503, "database-unavailable");
}

#[tokio::test]
async fn an_idempotency_key_is_one_field_with_a_text() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");
    let check = async |keys: &[&[u8]], status: u16, code: &str| {
        let builder = request("POST", "/v1/keys").header("authorization", format!("Bearer {token}")).header("content-type", "application/json");
        let builder = keys.iter().fold(builder, |builder, key| builder.header("idempotency-key", *key));
        send(fixture.router(), builder.body(Body::from(r#"{"name":"ci"}"#)).unwrap()).await.assert_problem(status, code);
    };

    for keys in [&[&b""[..]][..], &[b"  "], &[b"one", b"two"], &[b"\xc3\xa9"], &[&[b'x'; 256]]] {
        check(keys, 400, "request-malformed").await;
    }
    check(&[b"one two"], 503, "database-unavailable").await;
}
