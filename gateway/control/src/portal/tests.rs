//! What is decided without a database: who may what, what is read from a document, and how hostile texts are shown.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue};
use model::{document::Document, id::AccountId, key::fingerprint_plain, time::UtcMicros};
use serde_json::json;
use store::account::{
    AccountInfo, AccountState,
    session::{Proof, Session},
    team::TeamRole,
};

use super::{
    Entry,
    catalogue::Place,
    gate::{Verdict, verdict},
    password,
    rights::{Right, allows},
    session::{self, SignedIn},
    site, table,
    view::markdown,
};
use crate::policy;

#[test]
fn a_team_is_changed_by_its_owners_alone_and_viewers_change_nothing() {
    let of = |role| Right::ALL.map(|right| allows(role, right));
    assert_eq!(of(TeamRole::Viewer), [true, false, false, false]);
    assert_eq!(of(TeamRole::Developer), [true, true, true, false]);
    assert_eq!(of(TeamRole::Owner), [true; 4]);
}

#[test]
fn a_description_cannot_bring_scripts_pictures_or_links_of_other_schemes() {
    let html =
        markdown("Hi <script>alert(1)</script> **bold** [x](javascript:alert(1)) ![p](https://elsewhere.example/p.png) [ok](https://a.example)");
    for never in ["<script", "javascript:", "<img", "elsewhere.example"] {
        assert!(!html.contains(never), "{never}: {html}");
    }
    assert!(html.contains("&lt;script&gt;") && html.contains("<strong>bold</strong>") && html.contains(r#"href="https://a.example""#), "{html}");
    assert!(!markdown("a <b onmouseover=x> c").contains("<b "));
}

#[test]
fn passwords_that_anybody_would_guess_are_refused() {
    let is_fine = |password: &str| password::fault(password, "anna.bell@example.com").is_none();
    assert!(is_fine("a short sentence is fine") && is_fine("ünïcödé wörds"));
    assert!(!is_fine("short") && !is_fine("aaaaaaaaaaaaaaaa") && !is_fine("abababababababab"));
    assert!(!is_fine("my Anna.Bell password") && !is_fine(&"long".repeat(40)));
}

#[tokio::test]
async fn a_password_is_verified_under_its_key_alone() {
    let passwords = password::Passwords::default();
    let hash = passwords.hash([1; 32], "correct horse battery".to_owned(), [9; 32]).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    let verify = async |key: [u8; 32], text: &str, hash: Option<String>| passwords.verify(key, text.to_owned(), hash).await.unwrap();
    assert!(verify([1; 32], "correct horse battery", Some(hash.clone())).await);
    assert!(!verify([2; 32], "correct horse battery", Some(hash.clone())).await, "without the pepper a dump is of no use");
    assert!(!verify([1; 32], "correct horse batterz", Some(hash)).await);
    assert!(!verify([1; 32], "anything at all", None).await);
    assert!(!verify([1; 32], "anything at all", Some("garbage".to_owned())).await);
}

#[test]
fn of_several_session_cookies_none_counts() {
    let id = "A".repeat(43);
    let presented = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("cookie", HeaderValue::try_from(*value).unwrap());
        }
        session::presented(&headers)
    };
    let good = format!("__Host-causeway={id}");
    assert_eq!(presented(&[&good]), Some(fingerprint_plain(id.as_bytes())));
    assert_eq!(presented(&[&format!("a=b; {good}; c=d")]), Some(fingerprint_plain(id.as_bytes())));
    for bad in ["", "causeway=x", "__Host-causeway=", "__Host-causeway=short", "__Host-causewayx=AAAA"] {
        assert_eq!(presented(&[bad]), None, "{bad}");
    }
    assert_eq!(presented(&[&good, &good]), None);
    assert_eq!(presented(&[&format!("{good}; {good}")]), None);
    assert_eq!(presented(&[&format!("__Host-causeway={}", "!".repeat(43))]), None);
}

fn document() -> Document {
    serde_json::from_value(json!({
        "version": 1,
        "regions": [{ "name": "eu", "gateway": "https://api.example:8443" }],
        "tenants": [
            { "name": "acme", "hosts": ["*.wild.example", "api.example"], "portal": { "sign_up": "open", "plan": "free", "scopes": ["read"], "title": "Acme" } },
            { "name": "other", "hosts": ["other.example"] },
        ],
        "plans": [{ "name": "free", "limits": { "daily": { "rate": "1000/d" } } }],
        "apis": [
            { "name": "orders", "openapi": {
                "openapi": "3.1.0", "info": { "title": "Orders", "version": "2", "description": "<b>hi</b>" }, "servers": [{ "url": "/v2" }],
                "components": { "schemas": { "New": { "type": "object", "properties": { "name": { "type": "string" }, "n": { "type": "integer", "minimum": 3 } } } } },
                "paths": { "/orders/{id}": {
                    "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "integer", "minimum": 7 } }],
                    "get": { "operationId": "getOrder", "summary": "One order", "responses": { "200": { "description": "It" } } },
                    "put": { "operationId": "put/it", "parameters": [{ "name": "dry", "in": "query", "schema": { "type": "boolean" } }],
                        "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/New" } } } },
                        "responses": { "200": { "description": "It" } } } } },
            } },
            { "name": "hidden", "openapi": { "openapi": "3.1.0", "info": { "title": "Hidden", "version": "1" }, "paths": {
                "/hidden": { "get": { "operationId": "h", "responses": { "200": { "description": "It" } } } } } } },
        ],
        "upstreams": [{ "name": "up", "regions": { "eu": { "targets": ["http://127.0.0.1:9"], "role": "writer" } } }],
        "routes": [
            { "name": "reads", "match": { "host": "api.example", "path": "/v2/**", "methods": ["GET"] }, "api": "orders", "scopes": ["read"], "upstream": "up" },
            { "name": "open", "match": { "host": "api.example", "path": "/v2/**" }, "api": "orders", "auth": "none", "upstream": "up" },
            { "name": "elsewhere", "match": { "host": "other.example", "path": "/**" }, "api": "hidden", "upstream": "up" },
        ],
    }))
    .unwrap()
}

#[test]
fn the_catalogue_says_of_each_operation_what_the_route_says_that_takes_it() {
    let site = site::made(&document()).unwrap();
    assert_eq!((site.title.as_str(), site.tenant.as_str()), ("Acme", "acme"));
    let names: Vec<_> = site.apis.iter().map(|api| api.name.as_str()).collect();
    assert_eq!(names, ["orders"], "what another tenant's host serves is not shown");
    let [get, put] = site.apis[0].operations.as_slice() else { panic!("two operations") };
    assert_eq!((get.id.as_str(), get.path.as_str(), get.origin.as_str()), ("getOrder", "/v2/orders/{id}", "https://api.example:8443"));
    assert_eq!((get.scopes.as_slice(), get.proofs.as_slice()), (["read".to_owned()].as_slice(), ["API key".to_owned()].as_slice()));
    assert!(put.scopes.is_empty() && put.proofs.is_empty(), "the open route takes it");
    assert_eq!(put.id, "put-v2-orders--id-", "an id that is no part of an address gets another");
    let parameters: Vec<_> = put.parameters.iter().map(|parameter| (parameter.name.as_str(), parameter.place, parameter.example.as_str())).collect();
    assert_eq!(parameters, [("dry", Place::Query, "true"), ("id", Place::Path, "7")]);
    assert_eq!(put.body.as_ref().unwrap().example, "{\n  \"name\": \"text\",\n  \"n\": 3\n}");
    assert!(site.apis[0].about.contains("&lt;b&gt;"));
}

#[test]
fn a_deployment_without_a_portal_says_how_to_get_one() {
    let mut document = document();
    document.tenants[0].portal = None;
    let refusal = site::made(&document).unwrap_err();
    assert_eq!(refusal.kind().status(), 404);
    assert!(refusal.detail().contains("portal"), "{}", refusal.detail());
}

#[test]
fn a_schema_that_refers_to_itself_has_an_example_all_the_same() {
    let mut document = document();
    document.apis[0].openapi["components"]["schemas"]["New"]["properties"]["again"] = json!({ "$ref": "#/components/schemas/New" });
    let site = site::made(&document).unwrap();
    assert!(site.apis[0].operations[1].body.as_ref().unwrap().example.contains("again"));
}

/// Who gets where: somebody unknown, an operator without a second factor, a member, a viewer and an approver, both with one.
const GATES: &str = "\
/portal                                                   -                             through   through   through   through   through
/portal/                                                  -                             through   through   through   through   through
/portal/apis/{api}                                        -                             through   through   through   through   through
/portal/apis/{api}/{operation}                            -                             through   through   through   through   through
/portal/problems                                          -                             through   through   through   through   through
/portal/problems/{code}                                   -                             through   through   through   through   through
/portal/sign-up                                           -                             through   through   through   through   through
/portal/sign-up                                           account.sign_up               counted   counted   counted   counted   counted
/portal/sign-in                                           -                             through   through   through   through   through
/portal/sign-in                                           account.sign_in               counted   counted   counted   counted   counted
/portal/sign-in/code                                      -                             through   through   through   through   through
/portal/sign-in/code                                      account.sign_in_code          counted   counted   counted   counted   counted
/portal/sign-in/provider                                  -                             counted   counted   counted   counted   counted
/portal/sign-in/provider/back                             account.sign_in_provider      counted   counted   counted   counted   counted
/portal/reset                                             -                             through   through   through   through   through
/portal/reset                                             account.set_password          counted   counted   counted   counted   counted
/portal/invitation                                        -                             through   through   through   through   through
/portal/invitation                                        invitation.accept             counted   counted   counted   counted   counted
/portal/{*rest}                                           -                             through   through   through   through   through
/portal/sign-out                                          account.sign_out              sign-in   through   through   through   through
/portal/apis/{api}/{operation}                            -                             sign-in   enroll    through   through   through
/portal/account                                           -                             sign-in   enroll    through   through   through
/portal/account/password                                  account.change_password       sign-in   enroll    through   through   through
/portal/account/sign-out-everywhere                       account.sign_out_everywhere   sign-in   enroll    through   through   through
/portal/account/tokens                                    -                             sign-in   enroll    through   through   through
/portal/account/tokens                                    account.make_token            sign-in   enroll    through   through   through
/portal/account/tokens/{id}/revoke                        account.revoke_token          sign-in   enroll    through   through   through
/portal/account/second-factor                             -                             sign-in   through   through   through   through
/portal/account/second-factor/begin                       account.begin_second_factor   sign-in   enroll    through   through   through
/portal/account/second-factor/confirm                     account.set_second_factor     sign-in   through   through   through   through
/portal/account/second-factor/remove                      account.remove_second_factor  sign-in   enroll    through   through   through
/portal/account/notifications                             -                             sign-in   enroll    through   through   through
/portal/account/notifications                             account.set_notifications     sign-in   enroll    through   through   through
/portal/applications                                      -                             sign-in   enroll    through   through   through
/portal/applications                                      application.create            sign-in   enroll    through   through   through
/portal/applications/{id}                                 -                             sign-in   enroll    through   through   through
/portal/applications/{id}/delete                          application.delete            sign-in   enroll    through   through   through
/portal/applications/{id}/usage.json                      -                             sign-in   enroll    through   through   through
/portal/applications/{id}/usage.csv                       -                             sign-in   enroll    through   through   through
/portal/applications/{id}/keys                            key.create                    sign-in   enroll    through   through   through
/portal/keys/{id}                                         -                             sign-in   enroll    through   through   through
/portal/keys/{id}/live                                    -                             sign-in   enroll    through   through   through
/portal/keys/{id}/usage.json                              -                             sign-in   enroll    through   through   through
/portal/keys/{id}/usage.csv                               -                             sign-in   enroll    through   through   through
/portal/keys/{id}/roll                                    key.roll                      sign-in   enroll    through   through   through
/portal/keys/{id}/end-overlap                             key.roll                      sign-in   enroll    through   through   through
/portal/keys/{id}/disable                                 key.disable                   sign-in   enroll    through   through   through
/portal/keys/{id}/enable                                  key.enable                    sign-in   enroll    through   through   through
/portal/keys/{id}/revoke                                  key.revoke                    sign-in   enroll    through   through   through
/portal/requests                                          -                             sign-in   enroll    through   through   through
/portal/requests/{request_id}                             -                             sign-in   enroll    through   through   through
/portal/teams/{team}                                      -                             sign-in   enroll    through   through   through
/portal/teams/{team}/invitations                          team.invite                   sign-in   enroll    through   through   through
/portal/teams/{team}/invitations/{id}/withdraw            team.withdraw_invitation      sign-in   enroll    through   through   through
/portal/teams/{team}/members/{account}/role               team.set_role                 sign-in   enroll    through   through   through
/portal/teams/{team}/members/{account}/remove             team.remove_member            sign-in   enroll    through   through   through
/portal/teams/{team}/notifications                        -                             sign-in   enroll    through   through   through
/portal/teams/{team}/webhook                              webhook.set                   sign-in   enroll    through   through   through
/portal/teams/{team}/webhook/test                         webhook.test                  sign-in   enroll    through   through   through
/portal/teams/{team}/webhook/remove                       webhook.remove                sign-in   enroll    through   through   through
/console/regions                                          -                             sign-in   enroll    forbidden through   through
/console/regions/live                                     -                             sign-in   enroll    forbidden through   through
/portal/approvals                                         -                             sign-in   enroll    forbidden forbidden through
/portal/approvals/accounts/{id}/approve                   account.decide                sign-in   enroll    forbidden forbidden through
/portal/approvals/accounts/{id}/refuse                    account.decide                sign-in   enroll    forbidden forbidden through
/portal/approvals/keys/{id}/approve                       key.approve                   sign-in   enroll    forbidden forbidden through
/portal/approvals/keys/{id}/refuse                        key.refuse                    sign-in   enroll    forbidden forbidden through
";

fn somebody(role: Option<&str>, proof: Proof) -> SignedIn {
    let must_enroll = role.is_some() && proof == Proof::Password;
    let roles = role.filter(|_| !must_enroll).map(policy::roles).unwrap_or_default();
    SignedIn { digest: [0; 32], account: account(role, false), teams: Vec::new(), roles, proof, must_enroll }
}

fn account(role: Option<&str>, has_second_factor: bool) -> AccountInfo {
    AccountInfo {
        id: AccountId::new(uuid::Uuid::nil()),
        email: "ann@example.com".to_owned(),
        name: "Ann".to_owned(),
        state: AccountState::Active,
        role: role.map(str::to_owned),
        organization: String::new(),
        created_at: UtcMicros(0),
        has_second_factor,
    }
}

#[test]
fn every_page_is_open_to_whom_the_table_says() {
    let people = [
        None,
        Some(somebody(Some("admin"), Proof::Password)),
        Some(somebody(None, Proof::Password)),
        Some(somebody(Some("viewer"), Proof::SecondFactor)),
        Some(somebody(Some("approver"), Proof::Provider)),
    ];
    let word = |verdict| match verdict {
        Verdict::Through => "through",
        Verdict::Counted => "counted",
        Verdict::SignIn => "sign-in",
        Verdict::Enroll => "enroll",
        Verdict::Forbidden(_) => "forbidden",
    };
    let mut printed = String::new();
    for Entry { path, need, act, .. } in table() {
        let mut line = format!("{path:<58}{:<30}", act.unwrap_or("-"));
        for person in &people {
            write!(line, "{:<10}", word(verdict(need, person.as_ref()))).unwrap();
        }
        writeln!(printed, "{}", line.trim_end()).unwrap();
    }
    assert_eq!(printed, GATES);
}

#[test]
fn a_session_is_over_when_it_is_idle_old_shut_out_or_begun_without_the_second_factor() {
    let second = |n: i64| UtcMicros(n * 1_000_000);
    let session =
        Session { account: account(None, false), proof: Proof::Password, created_at: second(0), seen_at: second(0), expires_at: second(43_200) };
    let is_over = |session: &Session, at: i64| session::is_over(session, second(at));
    assert_eq!([0, 7_199, 7_200].map(|at| is_over(&session, at)), [false, false, true], "two hours without use");
    let used = Session { seen_at: second(43_000), ..session.clone() };
    assert_eq!([43_199, 43_200].map(|at| is_over(&used, at)), [false, true], "twelve hours in any case");
    for state in [AccountState::Disabled, AccountState::Pending] {
        assert!(is_over(&Session { account: AccountInfo { state, ..account(None, false) }, ..session.clone() }, 1));
    }
    let with = |proof| Session { account: account(None, true), proof, ..session.clone() };
    assert_eq!([Proof::Password, Proof::SecondFactor, Proof::Provider].map(|proof| is_over(&with(proof), 1)), [true, false, false]);
}
