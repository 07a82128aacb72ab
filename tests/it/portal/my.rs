//! What people do on the pages, done by their programs: with a token of their own, and the command line as it is for operators.

use harness::client::{self, Version};
use harness::dev::Dev;
use harness::wait;
use reqwest::Method;
use serde_json::{Value, json};

use super::{PASSWORD, Person, SOON, becomes, member, status, stranger};
use crate::calls::shared;
use crate::program::{Ran, causeway};

impl Person {
    /// Makes a token on its page.
    pub(super) async fn token(&self, name: &str) -> String {
        let page = self.post("/portal/account/tokens", &[("name", name), ("days", "30")]).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let token = page.between("aria-label=\"The token\">", "<");
        let (_, secret) = token.split_at(19);
        assert!(token.starts_with("cw_my_") && !self.get("/portal/account/tokens").await.text.contains(secret), "it is shown once");
        token
    }

    /// The id of their only team.
    async fn team(&self) -> String {
        self.get("/portal/applications").await.between("name=\"team\" value=\"", "\"")
    }
}

async fn ask(dev: &Dev, method: Method, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
    let http = client::http(&dev.ready().ca, Version::Http1).unwrap();
    let request = http.request(method, format!("{}{path}", dev.writer().unwrap().control)).bearer_auth(token);
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        None => request,
    };
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
}

async fn get(dev: &Dev, path: &str, token: &str) -> (u16, Value) {
    ask(dev, Method::GET, path, token, None).await
}

async fn post(dev: &Dev, path: &str, token: &str, body: Value) -> (u16, Value) {
    ask(dev, Method::POST, path, token, Some(body)).await
}

async fn run(dev: &Dev, token: &str, arguments: &[&str]) -> Ran {
    let (control, ca) = (&dev.writer().unwrap().control, dev.ready().ca.to_str().unwrap());
    causeway(arguments, &[("CAUSEWAY_CONTROL", control), ("CAUSEWAY_TOKEN", token), ("CAUSEWAY_CA", ca)], SOON).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_does_for_a_team_what_the_pages_do() {
    let dev = shared().await;
    let ann = member(&dev, "cli@example.com", "Cli").await;
    let token = ann.token("laptop").await;
    let mine = async |arguments: &[&str]| run(&dev, &token, arguments).await.expect(0);

    let shown = mine(&["my", "show", "--json"]).await.json();
    let (team, team_id) = (shown["teams"][0]["name"].as_str().unwrap(), shown["teams"][0]["id"].as_str().unwrap());
    assert_eq!((&shown["email"], &shown["teams"][0]["role"]), (&json!("cli@example.com"), &json!("owner")));
    assert!(mine(&["my", "show"]).await.stdout.contains(team));

    let made = mine(&["applications", "create", "Shop", "--json"]).await.json();
    let application = made["name"].as_str().unwrap().to_owned();
    assert_eq!(application, format!("{team}_shop"));
    assert!(mine(&["applications", "list"]).await.stdout.contains(&application));
    assert!(mine(&["applications", "show", &application]).await.stdout.contains("free"), "the plan that the portal gives");
    assert!(ann.get("/portal/applications").await.text.contains(">shop<"), "it is the same as on the page");

    let issued = mine(&["keys", "create", "ci", "--application", &application, "--json"]).await.json();
    let (id, secret) = (issued["id"].as_str().unwrap(), issued["secret"].as_str().unwrap());
    becomes(&dev, secret, 200).await;
    assert_eq!(issued["created_by"], json!(format!("account:{}", shown["id"].as_str().unwrap())));
    let rolled = mine(&["keys", "roll", id, "--overlap", "1h", "--json"]).await.json();
    let new = rolled["secret"].as_str().unwrap();
    becomes(&dev, new, 200).await;
    assert_eq!(status(&dev, secret).await, 200);
    mine(&["keys", "end-overlap", id]).await;
    becomes(&dev, secret, 401).await;
    mine(&["keys", "disable", id]).await;
    becomes(&dev, new, 401).await;
    mine(&["keys", "enable", id]).await;
    becomes(&dev, new, 200).await;
    assert!(mine(&["keys", "show", id]).await.stdout.contains("active"));
    assert!(mine(&["keys", "list", "--application", &application]).await.stdout.contains(id));

    let used = async || mine(&["usage", "--application", &application, "--json"]).await.json()["items"].as_array().is_some_and(|all| !all.is_empty());
    wait::until("the usage", SOON, used).await.unwrap();
    let requests = mine(&["my", "requests", "--key", id, "--json"]).await.json();
    let first = &requests["items"][0];
    assert_eq!((&first["key_id"], &first["application"]), (&json!(id), &json!(application)));
    assert!(first.get("client_address").is_none() && first.get("node").is_none(), "what a caller may see, and no more: {first}");
    mine(&["keys", "revoke", id]).await;
    becomes(&dev, new, 401).await;

    let link = mine(&["my", "invite", team, "zoe@example.com", "--role", "viewer"]).await.stdout;
    assert!(link.starts_with("/portal/invitation#"), "{link}");
    let of_team = mine(&["my", "team", team_id, "--json"]).await.json();
    assert_eq!((&of_team["invitations"][0]["email"], of_team.to_string().contains(link.trim())), (&json!("zoe@example.com"), false));
    mine(&["my", "withdraw", team, of_team["invitations"][0]["id"].as_str().unwrap()]).await;
    let last = run(&dev, &token, &["my", "remove", team, shown["id"].as_str().unwrap()]).await.expect(1);
    assert!(last.stderr.contains("needs an owner"), "{last:?}");

    mine(&["applications", "delete", &application]).await;
    let operators = run(&dev, &token, &["operators", "list"]).await.expect(1);
    assert!(operators.stderr.contains("takes an operator token"), "{operators:?}");
    let tokens = mine(&["my", "tokens", "--json"]).await.json();
    assert_eq!(tokens["items"][0]["name"], "laptop");
    mine(&["my", "revoke-token", tokens["items"][0]["id"].as_str().unwrap()]).await;
    let over = run(&dev, &token, &["my", "show"]).await.expect(1);
    assert!(over.stderr.contains("credentials-invalid"), "{over:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_ones_own_reaches_nothing_else() {
    let dev = shared().await;
    let ann = member(&dev, "ann-own@example.com", "Own").await;
    let eve = member(&dev, "eve-own@example.com", "Other").await;
    let (token, other) = (ann.token("a").await, eve.token("b").await);
    let team = ann.team().await;
    let application = ann.application("Shop").await.rsplit('/').next().unwrap().to_owned();
    let (key, _) = ann.key(&format!("/portal/applications/{application}"), "laptop").await;
    let key = key.rsplit('/').next().unwrap().to_owned();
    let (_, named) = get(&dev, &format!("/v1/my/applications/{application}"), &token).await;
    let named = named["name"].as_str().unwrap().to_owned();
    assert_eq!(get(&dev, &format!("/v1/my/applications/{named}"), &token).await.0, 200);

    // To another team none of it exists, by id or by name, to read or to change.
    for path in [
        format!("/v1/my/applications/{application}"),
        format!("/v1/my/applications/{named}"),
        format!("/v1/my/keys/{key}"),
        format!("/v1/my/keys?application={named}"),
        format!("/v1/my/keys?team={team}"),
        format!("/v1/my/applications?team={team}"),
        format!("/v1/my/usage?application={named}"),
        format!("/v1/my/usage?key={key}"),
        format!("/v1/my/requests?team={team}"),
        format!("/v1/my/teams/{team}"),
    ] {
        assert_eq!((get(&dev, &path, &token).await.0, get(&dev, &path, &other).await.0), (200, 404), "{path}");
    }
    for (path, body, expected) in [
        (format!("/v1/my/keys/{key}/roll"), json!({}), 404),
        (format!("/v1/my/keys/{key}/disable"), json!({}), 404),
        (format!("/v1/my/keys/{key}/revoke"), json!({}), 404),
        (format!("/v1/my/teams/{team}/invitations"), json!({ "email": "x@example.com", "role": "owner" }), 404),
        ("/v1/my/keys".to_owned(), json!({ "name": "x", "application": named }), 422),
        ("/v1/my/applications".to_owned(), json!({ "name": "x", "team": team }), 422),
    ] {
        assert_eq!(post(&dev, &path, &other, body).await.0, expected, "{path}");
    }
    let own = get(&dev, "/v1/my/tokens", &token).await.1["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(post(&dev, &format!("/v1/my/tokens/{own}/revoke"), &other, json!({})).await.0, 404);
    assert_eq!(ask(&dev, Method::DELETE, &format!("/v1/my/applications/{named}"), &other, None).await.0, 404);
    assert_eq!(get(&dev, &format!("/v1/my/usage?key={key}&application={named}"), &token).await.0, 200);

    // It is no operator's token, and theirs is none of these; nor is it a key.
    for path in ["/v1/keys", "/v1/consumers", "/v1/audit/events", "/status"] {
        assert_eq!(get(&dev, path, &token).await.0, 401, "{path}");
    }
    for path in ["/v1/my", "/v1/my/keys"] {
        assert_eq!(get(&dev, path, &dev.ready().operator_token).await.0, 401, "{path}");
        assert_eq!(get(&dev, path, &dev.ready().api_key).await.0, 401, "{path}");
    }
    assert_eq!(status(&dev, &token).await, 401);
    let broken = format!("{}{}", &token[..token.len() - 1], if token.ends_with('0') { '1' } else { '0' });
    assert_eq!(get(&dev, "/v1/my", &broken).await.0, 401);

    // What the API's owner decides is not the team's to say.
    for (member, value) in [("plan", json!("free")), ("pending", json!(true)), ("scopes", json!(["other:scope"])), ("expires_in", json!(63_072_001))]
    {
        let (status, problem) = post(&dev, "/v1/my/keys", &token, json!({ "name": "x", "application": named, member: value })).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(format!("/{member}"))), "{problem}");
    }
    let disabled = post(&dev, &format!("/v1/keys/{key}/disable"), &dev.ready().operator_token, json!({})).await;
    assert_eq!(disabled.0, 200, "{}", disabled.1);
    let (status, problem) = post(&dev, &format!("/v1/my/keys/{key}/enable"), &token, json!({})).await;
    assert!(status == 409 && problem["detail"].as_str().unwrap().contains("owner has switched"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_what_its_owner_may_now_and_its_acts_are_theirs() {
    let dev = shared().await;
    let ann = member(&dev, "boss-now@example.com", "Now").await;
    let (team, boss) = (ann.team().await, ann.token("boss").await);
    let (_, invited) =
        post(&dev, &format!("/v1/my/teams/{team}/invitations"), &boss, json!({ "email": "ben-now@example.com", "role": "viewer" })).await;
    let code = invited["link"].as_str().unwrap().split_once('#').unwrap().1.to_owned();
    let mut ben = stranger(&dev, "ben-now@example.com");
    let joined = ben.post("/portal/invitation", &[("code", &code), ("name", "Ben"), ("password", PASSWORD)]).await;
    ben.keep(&joined);
    let token = ben.token("ben").await;
    let try_it = async || post(&dev, "/v1/my/applications", &token, json!({ "name": "Mine" })).await;

    assert_eq!(get(&dev, &format!("/v1/my/teams/{team}"), &token).await.0, 200);
    let (refused, problem) = try_it().await;
    assert_eq!((refused, &problem["code"]), (403, &json!("role-insufficient")), "a viewer looks");
    let account = get(&dev, "/v1/my", &token).await.1["id"].as_str().unwrap().to_owned();
    let at = format!("/v1/my/teams/{team}/members/{account}");
    assert_eq!(ask(&dev, Method::PATCH, &at, &token, Some(json!({ "role": "owner" }))).await.0, 403, "nobody makes themselves more");
    assert_eq!(ask(&dev, Method::PATCH, &at, &boss, Some(json!({ "role": "developer" }))).await.0, 200);
    let (status, made) = try_it().await;
    assert_eq!(status, 201, "{made}");
    let object = format!("application:{}", made["id"].as_str().unwrap());

    // The record names the person and the token, and what was refused is there, too.
    let records = async || {
        let (_, page) = get(&dev, "/v1/audit/events?action=application.create&limit=50", &dev.ready().operator_token).await;
        let of_ben = |item: &&Value| item["actor"] == json!(format!("account:{account}"));
        let mut statuses: Vec<_> =
            page["items"].as_array().unwrap().iter().filter(of_ben).map(|item| (item["status"].clone(), item["object"].clone())).collect();
        statuses.reverse();
        (statuses.len() == 2).then_some(statuses)
    };
    let (found, _) = wait::some("the records", SOON, records).await.unwrap();
    assert_eq!(found, [(json!(403), Value::Null), (json!(201), json!(object))]);

    // Everybody may leave, but for the last who owns the team; the others stay, whoever would like them out.
    let (_, me) = get(&dev, "/v1/my", &boss).await;
    let at_boss = format!("/v1/my/teams/{team}/members/{}", me["id"].as_str().unwrap());
    assert_eq!(ask(&dev, Method::DELETE, &at_boss, &token, None).await.0, 403);
    let (status, problem) = ask(&dev, Method::DELETE, &at_boss, &boss, None).await;
    assert_eq!((status, &problem["code"]), (409, &json!("resource-conflict")));
    let page = ben.get(&format!("/portal/teams/{team}")).await;
    assert_eq!((page.text.matches(">Leave<").count(), page.text.matches(">Remove<").count()), (1, 1), "the heading, and no button for others");
    let left = ben.post(&format!("/portal/teams/{team}/members/{account}/remove"), &[]).await;
    assert_eq!(left.leads_to(), "/portal/applications?done=team-left");
    assert_eq!(ask(&dev, Method::DELETE, &at, &token, None).await.0, 404, "it is theirs no more");
    // Who is out, or shut out, has no program inside.
    assert_eq!(get(&dev, &format!("/v1/my/teams/{team}"), &token).await.0, 404);
    let operator = &dev.ready().operator_token;
    assert_eq!(post(&dev, &format!("/v1/accounts/{account}/disable"), operator, json!({})).await.0, 200);
    assert_eq!(get(&dev, "/v1/my", &token).await.0, 401);
    assert_eq!(post(&dev, &format!("/v1/accounts/{account}/enable"), operator, json!({})).await.0, 200);
    // A node looks a token up anew after 5 s; then it is gone for good.
    wait::until("the end of the token", SOON, async || get(&dev, "/v1/my", &token).await.0 == 401).await.unwrap();
    assert_eq!(get(&dev, "/v1/my", &boss).await.0, 200);

    // On its page, too, and twenty are enough.
    let mut ids = Vec::new();
    for n in 0..19 {
        ids.push(ann.token(&format!("t{n}")).await);
    }
    let page = ann.post("/portal/account/tokens", &[("name", "one more"), ("days", "30")]).await;
    assert!(page.mistake("name").contains("20 tokens"));
    let id = ids[0].split('_').nth(2).unwrap();
    assert!(ann.post(&format!("/portal/account/tokens/{id}/revoke"), &[]).await.leads_to().contains("done=token-revoked"));
    assert_eq!(get(&dev, "/v1/my", &ids[0]).await.0, 401, "this node forgets it at once");
    assert_eq!(ben.post(&format!("/portal/account/tokens/{id}/revoke"), &[]).await.status, 303, "signed out");
    for (field, value) in [("days", "31"), ("days", "-1"), ("name", ""), ("name", "a\nb")] {
        let mut fields = vec![("name", "x"), ("days", "30")];
        fields.retain(|(name, _)| *name != field);
        fields.push((field, value));
        ann.post("/portal/account/tokens", &fields).await.mistake(field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_say_how_a_team_and_its_members_are_told() {
    let dev = shared().await;
    let ann = member(&dev, "told@example.com", "Told").await;
    let eve = member(&dev, "told-eve@example.com", "Told too").await;
    let (token, other, team) = (ann.token("laptop").await, eve.token("laptop").await, ann.team().await);
    let mine = async |arguments: &[&str]| run(&dev, &token, arguments).await.expect(0);
    let page = format!("/portal/teams/{team}/notifications");

    let none = run(&dev, &token, &["my", "webhook", &team]).await.expect(1);
    assert!(none.stderr.contains("resource-not-found"), "{none:?}");
    let set = mine(&["my", "set-webhook", &team, "https://hooks.example.com/told?team=1"]).await;
    let secret = set.stdout.trim().to_owned();
    assert!(secret.starts_with("whsec_") && set.stderr.contains("hooks.example.com"), "{set:?}");
    let shown = mine(&["my", "webhook", &team, "--json"]).await.json();
    assert_eq!((&shown["url"], &shown["is_on"]), (&json!("https://hooks.example.com/told?team=1"), &json!(true)));
    assert!(!shown.to_string().contains(&secret) && !ann.get(&page).await.text.contains(&secret), "it is shown once");
    assert!(ann.get(&page).await.text.contains("https://hooks.example.com/told?team=1"), "it is the same as on the page");
    let again = mine(&["my", "set-webhook", &team, "https://hooks.example.com/other"]).await;
    assert_ne!(again.stdout.trim(), secret, "each address has a secret of its own");
    mine(&["my", "test-webhook", &team]).await;
    let listed = async || mine(&["my", "webhook", &team, "--json"]).await.json()["deliveries"][0]["type"] == json!("test");
    wait::until("the test", SOON, listed).await.unwrap();

    let path = format!("/v1/my/teams/{team}/webhook");
    for bad in [
        "http://example.com/",
        "https://a:b@example.com/",
        "https://example.com/#x",
        "example.com",
        "",
        &format!("https://e.com/{}", "x".repeat(1_000)),
    ] {
        let (status, problem) = post(&dev, &path, &token, json!({ "url": bad })).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/url")), "{bad}: {problem}");
    }
    // To another team there is none, and a developer of this one does not see where it leads.
    for (method, path) in [(Method::GET, path.clone()), (Method::DELETE, path.clone()), (Method::POST, format!("{path}/test"))] {
        assert_eq!(ask(&dev, method, &path, &other, None).await.0, 404, "{path}");
    }
    assert_eq!(post(&dev, &path, &other, json!({ "url": "https://evil.example/" })).await.0, 404);
    let (_, invited) =
        post(&dev, &format!("/v1/my/teams/{team}/invitations"), &token, json!({ "email": "told-dev@example.com", "role": "developer" })).await;
    let code = invited["link"].as_str().unwrap().split_once('#').unwrap().1.to_owned();
    let mut ben = stranger(&dev, "told-dev@example.com");
    let joined = ben.post("/portal/invitation", &[("code", &code), ("name", "Ben"), ("password", PASSWORD)]).await;
    ben.keep(&joined);
    let bens = ben.token("ben").await;
    assert_eq!(get(&dev, &path, &bens).await.0, 403);
    assert_eq!(post(&dev, &path, &bens, json!({ "url": "https://evil.example/" })).await.0, 403);
    mine(&["my", "remove-webhook", &team]).await;
    mine(&["my", "remove-webhook", &team]).await;
    assert_eq!(get(&dev, &path, &token).await.0, 404);
    assert_eq!(post(&dev, &format!("{path}/test"), &token, json!({})).await.0, 409);

    // Mails are each person's own choice, and what is not named stays.
    assert!(mine(&["my", "mails"]).await.stdout.contains("keys: on, ends: on, team: on to told@example.com"));
    assert!(mine(&["my", "set-mails", "--off", "keys", "--off", "team"]).await.stdout.contains("keys: off, ends: on, team: off"));
    assert!(mine(&["my", "set-mails", "--on", "team"]).await.stdout.contains("keys: off, ends: on, team: on"));
    let choices = ann.get("/portal/account/notifications").await;
    assert!(choices.text.contains("value=\"keys\">") && choices.text.contains("value=\"ends\" checked>"), "{}", choices.text);
    assert_eq!(get(&dev, "/v1/my/mails", &other).await.1["topics"], json!({ "keys": true, "ends": true, "team": true }));
    for body in [json!({ "topics": { "leaks": false } }), json!({ "topics": [false] }), json!({ "topics": { "keys": 1 } }), json!({ "keys": false })]
    {
        let (status, problem) = ask(&dev, Method::PATCH, "/v1/my/mails", &token, Some(body)).await;
        assert_eq!(status, 422, "{problem}");
    }
}
