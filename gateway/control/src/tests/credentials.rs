//! Who is let in.

use axum::body::Body;
use model::{
    key::{Digest, Purpose},
    time::UtcMicros,
};

use super::fixture::{Fixture, START, ask, post, request, send};
use crate::operator::Wanted;

/// Every path that asks for a token, with a method that it has.
const GUARDED: &[(&str, &str)] = &[
    ("GET", "/status"),
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("POST", "/v1/keys/import"),
    ("GET", "/v1/keys/0123456789ab"),
    ("POST", "/v1/keys/0123456789ab/revoke"),
    ("GET", "/v1/keys/0123456789ab/propagation"),
    ("DELETE", "/v1/nodes/eu-west-1"),
    ("GET", "/v1/consumers"),
    ("POST", "/v1/consumers"),
    ("GET", "/v1/consumers/acme"),
    ("PATCH", "/v1/consumers/acme"),
    ("DELETE", "/v1/consumers/acme"),
    ("GET", "/v1/applications"),
    ("POST", "/v1/applications"),
    ("GET", "/v1/applications/shop"),
    ("DELETE", "/v1/applications/shop"),
    ("POST", "/v1/tokens/deny"),
    ("GET", "/v1/tokens/denied"),
    ("GET", "/v1/operators"),
    ("GET", "/v1/accounts"),
    ("GET", "/v1/accounts/acc_00000000000000000000000000000000"),
    ("GET", "/v1/certificate-authorities"),
    ("GET", "/v1/certificate-authorities/partners"),
    ("GET", "/v1/signers"),
    ("GET", "/v1/signers/partner"),
    ("POST", "/v1/operators"),
    ("POST", "/v1/accounts/invite"),
    ("POST", "/v1/accounts/acc_00000000000000000000000000000000/approve"),
    ("POST", "/v1/accounts/acc_00000000000000000000000000000000/refuse"),
    ("POST", "/v1/accounts/acc_00000000000000000000000000000000/disable"),
    ("POST", "/v1/accounts/acc_00000000000000000000000000000000/enable"),
    ("POST", "/v1/accounts/acc_00000000000000000000000000000000/reset"),
    ("POST", "/v1/accounts/acc_00000000000000000000000000000000/reset-second-factor"),
    ("POST", "/v1/accounts/acc_00000000000000000000000000000000/link"),
    ("POST", "/v1/operators/0123456789ab/revoke"),
    ("GET", "/v1/tenants"),
    ("GET", "/v1/tenants/main"),
    ("GET", "/v1/plans"),
    ("GET", "/v1/plans/free"),
    ("GET", "/v1/regions"),
    ("GET", "/v1/domains"),
    ("GET", "/v1/issuers"),
    ("GET", "/v1/apis"),
    ("GET", "/v1/upstreams"),
    ("GET", "/v1/routes"),
    ("GET", "/v1/routes/orders"),
    ("POST", "/v1/apply"),
    ("POST", "/v1/check"),
    ("GET", "/v1/nodes"),
    ("GET", "/v1/notifications"),
    ("POST", "/v1/notifications/ntf_00000000000000000000000000000000/retry"),
    ("POST", "/v1/cache/purge"),
    ("GET", "/v1/audit/events"),
    ("GET", "/v1/my"),
    ("GET", "/v1/my/tokens"),
    ("POST", "/v1/my/tokens/0123456789ab/revoke"),
    ("GET", "/v1/my/applications"),
    ("POST", "/v1/my/applications"),
    ("GET", "/v1/my/applications/shop"),
    ("DELETE", "/v1/my/applications/shop"),
    ("GET", "/v1/my/keys"),
    ("POST", "/v1/my/keys"),
    ("GET", "/v1/my/keys/0123456789ab"),
    ("POST", "/v1/my/keys/0123456789ab/roll"),
    ("POST", "/v1/my/keys/0123456789ab/end-overlap"),
    ("POST", "/v1/my/keys/0123456789ab/disable"),
    ("POST", "/v1/my/keys/0123456789ab/enable"),
    ("POST", "/v1/my/keys/0123456789ab/revoke"),
    ("GET", "/v1/my/usage"),
    ("GET", "/v1/my/requests"),
    ("GET", "/v1/my/teams/crew"),
    ("POST", "/v1/my/teams/crew/invitations"),
    ("DELETE", "/v1/my/teams/crew/invitations/00000000-0000-0000-0000-000000000000"),
    ("PATCH", "/v1/my/teams/crew/members/acc_00000000000000000000000000000000"),
    ("DELETE", "/v1/my/teams/crew/members/acc_00000000000000000000000000000000"),
    ("GET", "/v1/my/teams/crew/webhook"),
    ("POST", "/v1/my/teams/crew/webhook"),
    ("DELETE", "/v1/my/teams/crew/webhook"),
    ("POST", "/v1/my/teams/crew/webhook/test"),
    ("GET", "/v1/my/mails"),
    ("PATCH", "/v1/my/mails"),
];

#[tokio::test]
async fn nothing_but_probes_metrics_and_the_problem_list_answers_without_a_token() {
    let fixture = Fixture::new();

    for (method, path) in GUARDED {
        let answer = ask(&fixture, method, path, None).await;
        answer.assert_problem(401, "credentials-missing");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"causeway control\"", "{path}");
    }
    for path in ["/livez", "/readyz", "/metrics", "/v1/problems", "/.well-known/jwks.json"] {
        assert_eq!(ask(&fixture, "GET", path, None).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn every_wrong_token_gets_the_same_answer() {
    let fixture = Fixture::new();
    let known = fixture.draw(Purpose::Operator);
    fixture.know(&known, Digest([9; 32]), "admin", None);
    let expired = fixture.draw(Purpose::Operator);
    fixture.know(&expired, expired.digest, "admin", Some(START));
    let api_key = fixture.draw(Purpose::Live);
    let good = fixture.token("admin");
    let (body, last) = good.split_at(good.len() - 1);
    let garbled = format!("{body}{}", if last == "0" { "1" } else { "0" });
    let schemes = [
        format!("Bearer {}", known.text.expose_secret()),
        format!("Bearer {}", expired.text.expose_secret()),
        format!("Bearer {}", api_key.text.expose_secret()),
        format!("Bearer {garbled}"),
        format!("Basic {good}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer x".repeat(2_000),
    ];

    let mut details = Vec::new();
    for scheme in schemes {
        let builder = request("GET", "/status").header("authorization", &scheme);
        let answer = send(fixture.router(), builder.body(Body::empty()).unwrap()).await;
        let problem = answer.assert_problem(401, "credentials-invalid");
        details.push(problem["detail"].as_str().unwrap().to_owned());
    }
    details.dedup();

    assert_eq!(details.len(), 1, "{details:?}");
}

#[tokio::test]
async fn two_authorization_headers_are_refused_even_when_one_is_good() {
    let fixture = Fixture::new();
    let good = format!("Bearer {}", fixture.token("admin"));

    let builder = request("GET", "/status").header("authorization", &good).header("authorization", &good);
    let answer = send(fixture.router(), builder.body(Body::empty()).unwrap()).await;

    answer.assert_problem(401, "credentials-invalid");
}

#[tokio::test]
async fn a_good_token_is_let_in_and_forgotten_after_five_seconds() {
    let fixture = Fixture::new();
    let token = fixture.token("viewer");

    assert_eq!(ask(&fixture, "GET", "/status", Some(&token)).await.status, 200);
    fixture.clock.advance_seconds(4);
    assert_eq!(ask(&fixture, "GET", "/status", Some(&token)).await.status, 200);
    fixture.clock.advance_seconds(1);
    // Now the row has to be read again, and nobody answers: the token is neither good nor bad.
    let answer = ask(&fixture, "GET", "/status", Some(&token)).await;
    answer.assert_problem(503, "database-unavailable");
    assert_eq!(answer.header("retry-after"), "2");
}

#[tokio::test]
async fn a_token_ends_at_its_expiry_also_while_it_is_remembered() {
    let fixture = Fixture::new();
    let issued = fixture.draw(Purpose::Operator);
    fixture.know(&issued, issued.digest, "viewer", Some(UtcMicros(START.0 + 2_000_000)));
    let token = issued.text.expose_secret();

    assert_eq!(ask(&fixture, "GET", "/status", Some(token)).await.status, 200);
    fixture.clock.advance_seconds(2);
    ask(&fixture, "GET", "/status", Some(token)).await.assert_problem(401, "credentials-invalid");
}

/// The database is away, so that each request that is let in says so.
#[tokio::test]
async fn a_program_that_never_stops_is_slowed_down_and_nobody_else() {
    let fixture = Fixture::new();
    let (busy, another, other) = (fixture.personal_token(1), fixture.personal_token(1), fixture.personal_token(2));

    for _ in 0..200 {
        ask(&fixture, "GET", "/v1/my", Some(&busy)).await.assert_problem(503, "database-unavailable");
    }

    for token in [&busy, &another] {
        let refused = ask(&fixture, "GET", "/v1/my", Some(token)).await;
        refused.assert_problem(429, "peer-limited");
        assert_eq!(refused.header("retry-after"), "1");
    }
    ask(&fixture, "GET", "/v1/my", Some(&other)).await.assert_problem(503, "database-unavailable");
    let operator = fixture.token("viewer");
    assert_eq!(ask(&fixture, "GET", "/status", Some(&operator)).await.status, 200);
    ask(&fixture, "GET", "/status", Some(&other)).await.assert_problem(401, "credentials-invalid");
    ask(&fixture, "GET", "/v1/my", Some(&operator)).await.assert_problem(401, "credentials-invalid");
    fixture.clock.advance_seconds(1);
    ask(&fixture, "GET", "/v1/my", Some(&busy)).await.assert_problem(503, "database-unavailable");
}

#[tokio::test]
async fn a_role_that_does_not_allow_it_gets_403_before_the_body_is_read() {
    let fixture = Fixture::new();

    for (role, path) in [("viewer", "/v1/keys"), ("auditor", "/v1/keys"), ("developer", "/v1/apply"), ("nonsense", "/v1/check")] {
        let token = fixture.token(role);
        post(&fixture, path, &token, "this is not json").await.assert_problem(403, "role-insufficient");
    }
    let operator = fixture.token("operator");
    ask(&fixture, "GET", "/v1/audit/events", Some(&operator)).await.assert_problem(403, "role-insufficient");
}

#[tokio::test]
async fn a_credential_in_the_url_is_refused_and_not_repeated() {
    let fixture = Fixture::new();
    let token = fixture.token("admin");
    let escaped = token.replace('_', "%5f");

    let all_escaped = token.replacen("cw", "%63%77", 1);
    for path in [format!("/v1/keys/{token}"), format!("/status?token={token}"), format!("/v1/keys/{escaped}"), format!("/v1/keys/{all_escaped}")] {
        let answer = ask(&fixture, "GET", &path, Some(&token)).await;
        answer.assert_problem(400, "credential-misplaced");
        assert!(!answer.text.contains(&token[8..]), "{}", answer.text);
    }
    for purpose in Purpose::ALL {
        let of_kind = fixture.draw(purpose);
        let answer = ask(&fixture, "GET", &format!("/v1/my?token={}", of_kind.text.expose_secret()), Some(&token)).await;
        answer.assert_problem(400, "credential-misplaced");
    }
}

#[tokio::test]
async fn no_secret_stands_in_what_is_printed_for_debugging() {
    let fixture = Fixture::new();
    let issued = fixture.draw(Purpose::Operator);
    fixture.know(&issued, issued.digest, "admin", None);
    let secret = issued.text.expose_secret();

    let printed = format!("{:?} {:?} {issued:?}", fixture.state, fixture.state.known_tokens(Wanted::Operators));

    assert!(!printed.contains(&secret[21..40]), "{printed}");
    assert!(!printed.contains("of no use"), "{printed}");
}
