//! The developer portal over HTTP: what a browser would send, and what it never would.

mod approvals;
mod key_approval;
mod keys;
mod my;
mod notifications;
mod person;
mod provider;
mod sign_in;

use std::time::Duration;

use harness::dev::Dev;
use harness::wait;
use serde_json::{Value, json};

use self::person::{PASSWORD, Page, Person};
use crate::calls::{Calls, shared};

const SOON: Duration = Duration::from_secs(20);

fn stranger(dev: &Dev, email: &str) -> Person {
    Person::new(dev, dev.writer().unwrap(), email)
}

async fn member(dev: &Dev, email: &str, team: &str) -> Person {
    let mut person = stranger(dev, email);
    person.sign_up(team).await;
    person
}

/// The status that a key gets at the data listener of a region.
async fn status(dev: &Dev, secret: &str) -> u16 {
    let calls = Calls::of(dev.ready()).unwrap();
    calls.get(dev.reader().unwrap(), "/demo/v1/echo", secret).await.unwrap().status
}

async fn becomes(dev: &Dev, secret: &str, expected: u16) {
    wait::until("the change in the other region", SOON, async || status(dev, secret).await == expected).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_gets_a_key_calls_rolls_pauses_and_revokes_it() {
    let dev = shared().await;
    let ann = member(&dev, "life@example.com", "Life").await;
    let application = ann.application("Shop").await;
    let (key, first) = ann.key(&application, "laptop").await;

    // The console is the gateway: the same key, the same answer.
    let answer = ann.post("/portal/apis/demo/echo", &[("key", &first)]).await;
    assert!(answer.text.contains("<span id=\"answer-status\">200 OK</span>"), "{}", answer.text);
    let refused = ann.post("/portal/apis/demo/echo", &[("key", "cw_live_nothing")]).await;
    assert!(refused.text.contains("401 Unauthorized") && refused.text.contains("/portal/problems/credentials-invalid"), "{}", refused.text);
    becomes(&dev, &first, 200).await;

    let rolled = ann.post(&format!("{key}/roll"), &[("hours", "24")]).await;
    let second = rolled.between("aria-label=\"The key\">", "<");
    becomes(&dev, &second, 200).await;
    assert_eq!(status(&dev, &first).await, 200, "both work in the overlap");
    let counted = async || ann.get(&format!("{key}/live")).await.between("id=\"old-requests\">", "<") != "0";
    wait::until("the count of old requests", SOON, async || status(&dev, &first).await == 200 && counted().await).await.unwrap();
    let again = ann.post(&format!("{key}/roll"), &[("hours", "1")]).await;
    assert!(again.mistake("roll").contains("end its overlap first"));
    assert!(ann.post(&format!("{key}/end-overlap"), &[]).await.leads_to().contains("done=overlap-ended"));
    becomes(&dev, &first, 401).await;

    ann.post(&format!("{key}/disable"), &[]).await.leads_to();
    wait::until("the pause", SOON, async || status(&dev, &second).await != 200).await.unwrap();
    ann.post(&format!("{key}/enable"), &[]).await.leads_to();
    becomes(&dev, &second, 200).await;

    // What the API's owner has switched off stays off until they switch it on.
    let calls = Calls::of(dev.ready()).unwrap();
    let id = key.rsplit('/').next().unwrap();
    assert_eq!(calls.change(&format!("/v1/keys/{id}/disable"), None).await.unwrap().status, 200);
    assert!(ann.post(&format!("{key}/enable"), &[]).await.mistake("state").contains("owner has switched"));
    assert_eq!(calls.change(&format!("/v1/keys/{id}/enable"), None).await.unwrap().status, 200);
    becomes(&dev, &second, 200).await;

    assert!(ann.post(&format!("{key}/revoke"), &[("confirm", "Laptop")]).await.mistake("revoke").contains("exactly"));
    assert_eq!(status(&dev, &second).await, 200);
    let led = ann.post(&format!("{key}/revoke"), &[("confirm", "laptop")]).await;
    let page = led.leads_to().to_owned();
    becomes(&dev, &second, 401).await;
    wait::until("the regions' ticks", SOON, async || ann.get(&page).await.text.matches("every node knows it").count() == 2).await.unwrap();

    // What was shown once stands nowhere any more.
    let requests = async || ann.get("/portal/requests").await.text.contains("/demo/v1/echo");
    let seen = wait::until("the records of the calls", SOON, requests).await;
    assert!(seen.is_ok(), "{}", ann.get("/portal/requests").await.text);
    for path in ["/portal/applications", &application, &key, "/portal/requests", &format!("{application}/usage.csv")] {
        let page = ann.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        for secret in [&first, &second] {
            let (_, secret) = secret.split_at(21);
            assert!(!page.text.contains(secret), "{path} shows a secret");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_another_site_does_nothing() {
    let dev = shared().await;
    let ann = member(&dev, "csrf@example.com", "Csrf").await;
    let form = || ann.form("/portal/sign-out", &[]);
    for (field, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1"),
        ("x-other", "1"),
    ] {
        let page = ann.send(form().header(field, value)).await;
        assert_eq!(page.status, 403, "{field}: {value}");
        assert!(page.text.contains("not sent from a page of this portal"), "{}", page.text);
    }
    assert_eq!(ann.get("/portal/account").await.status, 200, "the session goes on");
    let origin = dev.writer().unwrap().control.clone();
    assert_eq!(ann.send(form().header("origin", origin)).await.status, 303, "an old browser says its origin alone");
    assert_eq!(ann.get("/portal/account").await.leads_to(), "/portal/sign-in?next=/portal/account");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_own_and_ends_when_it_should() {
    let dev = shared().await;
    let mut ann = member(&dev, "session@example.com", "Session").await;
    let first = ann.cookie.clone().unwrap();
    let set = ann.sign_in(PASSWORD).await;
    for attribute in ["__Host-causeway=", "Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age="] {
        assert!(set.cookie().unwrap().contains(attribute), "{attribute}");
    }
    assert_ne!(ann.cookie.as_deref(), Some(first.as_str()), "a sign-in begins another session");
    let mut old = ann.clone();
    old.cookie = Some(first.clone());
    assert_eq!(old.get("/portal/account").await.status, 303, "and ends the one that came with it, which somebody may have planted");
    old.cookie = Some(format!("{first}; {}", ann.cookie.clone().unwrap()));
    assert_eq!(old.get("/portal/account").await.status, 303, "of two cookies none counts");
    for value in ["", "x", &"A".repeat(43), &"é".repeat(20), &"A".repeat(10_000)] {
        old.cookie = Some(format!("__Host-causeway={value}"));
        assert_eq!(old.get("/portal/").await.status, 200);
        assert_eq!(old.get("/portal/account").await.status, 303);
    }

    // A new password ends every other session.
    let mut elsewhere = stranger(&dev, "session@example.com");
    elsewhere.sign_in(PASSWORD).await;
    assert_eq!(elsewhere.get("/portal/account").await.status, 200);
    let change = |current: &'static str| [("current", current), ("password", "another sentence of mine")];
    assert!(ann.post("/portal/account/password", &change("not this one at all")).await.mistake("current").contains("not your password"));
    let changed = ann.post("/portal/account/password", &change(PASSWORD)).await;
    ann.keep(&changed);
    assert_eq!(ann.get("/portal/account").await.status, 200);
    assert_eq!(elsewhere.get("/portal/account").await.status, 303);
    assert_eq!(elsewhere.sign_in(PASSWORD).await.status, 422);
    assert_eq!(elsewhere.sign_in("another sentence of mine").await.status, 303);
    let out = ann.post("/portal/account/sign-out-everywhere", &[]).await;
    assert!(out.cookie().unwrap().contains("Max-Age=0"));
    assert_eq!((ann.get("/portal/account").await.status, elsewhere.get("/portal/account").await.status), (303, 303));
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_tells_nobody_who_has_an_account_leads_nowhere_else_and_is_not_guessed() {
    let dev = shared().await;
    let mut ann = member(&dev, "known@example.com", "Known").await;
    let known = ann.sign_in("a wrong password").await;
    let mut nobody = stranger(&dev, "unknown@example.com");
    let unknown = nobody.sign_in("a wrong password").await;
    let same = |page: &Page| page.text.replace("unknown@example.com", "known@example.com");
    assert_eq!((known.status, same(&known).contains("do not belong together")), (422, true));
    assert_eq!(unknown.status, 422);
    let visitor = |text: &str| text.split_once("<main").unwrap().1.to_owned();
    assert_eq!(visitor(&same(&known)), visitor(&same(&unknown)), "the same page");

    for next in
        ["https://evil.example/", "//evil.example", "/portal//evil.example", "/portal/\\evil", "javascript:alert(1)", "/v1/keys", "/portal/ x"]
    {
        let page = ann.post("/portal/sign-in", &[("email", "known@example.com"), ("password", PASSWORD), ("next", next)]).await;
        assert_eq!(page.leads_to(), "/portal/applications", "{next}");
    }
    let page = ann.post("/portal/sign-in", &[("email", "known@example.com"), ("password", PASSWORD), ("next", "/portal/team?x=1")]).await;
    assert_eq!(page.leads_to(), "/portal/team?x=1");

    // Ten at once from one place, then one a minute; the owner, elsewhere, is not kept out.
    let mut guesser = stranger(&dev, "known@example.com");
    let mut refused = 0;
    for _ in 0..15 {
        let page = guesser.sign_in("one more guess of many").await;
        refused += usize::from(page.status == 429);
        assert!(matches!(page.status, 422 | 429), "{}", page.status);
    }
    assert!((4..=5).contains(&refused), "{refused} of 15 guesses were refused");
    assert_eq!(guesser.sign_in(PASSWORD).await.status, 429, "a right guess does not get through either");
    assert_eq!(ann.sign_in(PASSWORD).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_a_team_does_not_exist_for_another() {
    let dev = shared().await;
    let ann = member(&dev, "mine@example.com", "Mine").await;
    let eve = member(&dev, "eve@example.com", "Eve").await;
    let application = ann.application("Secret plans").await;
    let (key, secret) = ann.key(&application, "laptop").await;
    let team = ann.get("/portal/applications").await.between("name=\"team\" value=\"", "\"");
    for path in [
        &application,
        &format!("{application}/usage.json"),
        &format!("{application}/usage.csv"),
        &key,
        &format!("{key}/live"),
        &format!("{key}/usage.json"),
        &format!("{key}/usage.csv"),
        &format!("/portal/teams/{team}"),
    ] {
        assert_eq!((ann.get(path).await.status, eve.get(path).await.status), (200, 404), "{path}");
        assert_eq!(stranger(&dev, "x").get(path).await.status, 303, "{path}");
    }
    for (path, fields) in [
        (format!("{application}/keys"), vec![("name", "x"), ("environment", "live"), ("days", "30"), ("addresses", "")]),
        (format!("{application}/delete"), vec![("confirm", "secret-plans")]),
        (format!("{key}/roll"), vec![("hours", "0")]),
        (format!("{key}/disable"), vec![]),
        (format!("{key}/revoke"), vec![("confirm", "laptop")]),
        ("/portal/applications".to_owned(), vec![("name", "x"), ("team", team.as_str())]),
        (format!("/portal/teams/{team}/invitations"), vec![("email", "eve@example.com"), ("role", "owner")]),
    ] {
        assert_eq!(eve.post(&path, &fields).await.status, 404, "{path}");
    }
    for path in ["/portal/approvals", "/portal/approvals?done=x"] {
        assert_eq!(eve.get(path).await.status, 403);
    }
    assert_eq!(eve.post("/portal/approvals/keys/0123456789ab/approve", &[]).await.status, 403);
    becomes(&dev, &secret, 200).await;
    assert!(!eve.get("/portal/requests").await.text.contains("laptop"));
    assert!(eve.get(&format!("/portal/requests?team={team}")).await.status == 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_are_text_and_hostile_forms_are_refused() {
    let dev = shared().await;
    let mut ann = stranger(&dev, "xss@example.com");
    let evil = "\"><script>alert(1)</script>";
    let fields = [("name", evil), ("email", "xss@example.com"), ("organization", evil), ("password", PASSWORD)];
    let page = ann.post("/portal/sign-up", &fields).await;
    ann.keep(&page);
    let application = ann.application("Shop").await;
    let (key, _) = ann.key(&application, evil).await;
    for path in ["/portal/applications", &application, &key, "/portal/account", "/portal/requests?request_id=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"]
    {
        let page = ann.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.text.contains("<script>alert"), "{path}");
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.headers["cache-control"], "no-store");
    }
    let page = ann.get("/portal/nothing/%3Cscript%3Ealert(1)%3C%2Fscript%3E").await;
    assert!(page.status == 404 && !page.text.contains("<script>alert"));

    let sign_up = |fields: &[(&'static str, &str)]| {
        let mut all = vec![("name", "Ann"), ("email", "other@example.com"), ("organization", "Other"), ("password", PASSWORD)];
        for (name, value) in fields {
            all.retain(|(known, _)| known != name);
            all.push((name, value));
        }
        let fields: Vec<_> = all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let person = stranger(&dev, "other@example.com");
        async move {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            person.post("/portal/sign-up", &fields).await
        }
    };
    let long = "x".repeat(300);
    for (field, value) in [
        ("name", ""),
        ("name", "a\nb"),
        ("name", &long),
        ("email", "no address"),
        ("email", "a@b"),
        ("email", &long),
        ("organization", " "),
        ("password", "short"),
    ] {
        sign_up(&[(field, value)]).await.mistake(field);
    }
    assert!(sign_up(&[("email", "xss@example.com")]).await.mistake("email").contains("account already"));
    assert!(sign_up(&[("email", "XSS@Example.com")]).await.mistake("email").contains("account already"));
    assert_eq!(sign_up(&[("role", "admin")]).await.status, 422, "a field that the form does not have");
    let huge = "x".repeat(300_000);
    assert_eq!(sign_up(&[("name", &huge)]).await.status, 413);
    let other = stranger(&dev, "y").form("/portal/sign-up", &[]).header("sec-fetch-site", "same-origin");
    assert_eq!(ann.send(other.header("content-type", "text/plain")).await.status, 415);
}

/// A page that is loaded anew, a button that is pressed twice, a request that a proxy repeats.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_sent_twice_makes_one_key() {
    let dev = shared().await;
    let ann = member(&dev, "twice@example.com", "Twice").await;
    let application = ann.application("Shop").await;
    let drawn = async || ann.get(&application).await.between("name=\"form\" value=\"", "\"");
    let form = drawn().await;
    let send = async |form: &str, name: &str| {
        let fields = [("form", form), ("name", name), ("environment", "live"), ("days", "30"), ("scope", "items:read"), ("addresses", "")];
        ann.post(&format!("{application}/keys"), &fields).await
    };

    let (first, again) = (send(&form, "laptop").await, send(&form, "laptop").await);
    let at_once = futures_util::future::join_all((0..6).map(|_| send(&form, "race"))).await;

    assert_eq!(first.status, 200, "{}", first.text);
    let key = first.between("id=\"stored\" href=\"", "\"");
    assert_eq!(again.leads_to(), format!("{key}?done=key-made-before"));
    assert!(ann.get(again.leads_to()).await.text.contains("This form has made this key already"));
    let statuses: Vec<u16> = at_once.iter().map(|page| page.status).collect();
    assert_eq!(
        (statuses.iter().filter(|status| **status == 200).count(), statuses.iter().filter(|status| **status == 303).count()),
        (1, 5),
        "{statuses:?}"
    );
    assert_eq!(send(&form, "changed after a step back").await.status, 200);
    let another = drawn().await;
    assert_ne!(another, form);
    assert_eq!(send(&another, "laptop").await.status, 200, "another page, and a second key that is meant");
    assert_eq!(send(&"x".repeat(65), "x").await.status, 422);
    let eve = member(&dev, "twice-eve@example.com", "Twice too").await;
    let theirs = eve.application("Shop").await;
    let fields = [("form", form.as_str()), ("name", "laptop"), ("environment", "live"), ("days", "30"), ("scope", "items:read"), ("addresses", "")];
    assert_eq!(eve.post(&format!("{theirs}/keys"), &fields).await.status, 200, "a form of somebody else's tells nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_leaked_is_told_on_the_first_page_and_those_of_its_application_and_itself() {
    let dev = shared().await;
    let ann = member(&dev, "leak-page@example.com", "Leak").await;
    let application = ann.application("Shop").await;
    let eve = member(&dev, "leak-eve@example.com", "Leak too").await;
    let (key, secret) = ann.key(&application, "laptop").await;
    let banners = async || {
        let mut told = Vec::new();
        for path in ["/portal/", &application, &key] {
            told.push(ann.get(path).await.text.contains("<strong>Leaked:</strong>"));
        }
        told
    };
    assert_eq!(banners().await, [false; 3]);

    let calls = Calls::of(dev.ready()).unwrap();
    let told = calls.change("/v1/keys/leaked", Some(&json!({ "keys": [secret] }))).await.unwrap();

    assert_eq!(told.status, 200, "{}", told.body);
    wait::until("the banners", SOON, async || banners().await == [true; 3]).await.unwrap();
    assert!(ann.get("/portal/").await.text.contains(&format!("href=\"{key}\"")), "it leads to the key");
    for other in [&eve, &stranger(&dev, "x")] {
        assert!(!other.get("/portal/").await.text.contains("Leaked:"), "it is nobody else's business");
    }
    becomes(&dev, &secret, 401).await;
}

/// Two keys of one application: each page counts its own, and figures, chart, table and file tell the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_usage_of_a_key_is_on_its_page() {
    let dev = shared().await;
    let ann = member(&dev, "usage-page@example.com", "Usage").await;
    let application = ann.application("Shop").await;
    let (used, secret) = ann.key(&application, "used").await;
    let (unused, _) = ann.key(&application, "unused").await;
    becomes(&dev, &secret, 200).await;
    let chart = async |page: &str| -> Value { serde_json::from_str(&ann.get(&format!("{page}/usage.json")).await.text).unwrap() };
    let counted = async || chart(&used).await["total"]["requests"].as_u64() > Some(0);
    wait::until("the count", SOON, counted).await.unwrap();

    let page = ann.get(&used).await;
    let total = chart(&used).await["total"].clone();
    assert_eq!(total, chart(&application).await["total"], "the other key was not used");
    for member in ["requests", "errors", "p50_ms", "p95_ms"] {
        let figure = page.between(&format!("data-total=\"{member}\">"), "<");
        assert!(figure.parse::<f64>().is_ok(), "{member}: {figure}");
    }
    let row = page.between("data-usage-rows><tr>", "</tr>");
    assert_eq!(row.matches("<td>").count(), 5, "{row}");
    let file = ann.get(&format!("{used}/usage.csv?step=minute")).await;
    assert!(file.headers["content-disposition"].to_str().unwrap().contains("usage.csv") && file.text.lines().count() > 1, "{}", file.text);
    let empty = ann.get(&unused).await;
    assert!(empty.text.contains("data-total=\"p95_ms\">–<") && empty.text.contains("No use in the last 48 hours"), "{}", empty.text);
    assert_eq!(chart(&unused).await["total"]["requests"], json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_grows_by_invitations_and_each_member_may_what_their_role_says() {
    let dev = shared().await;
    let ann = member(&dev, "owner@example.com", "Crew").await;
    let team = ann.get("/portal/applications").await.between("name=\"team\" value=\"", "\"");
    let application = ann.application("Shop").await;
    let invited = ann.post(&format!("/portal/teams/{team}/invitations"), &[("email", "bob@example.com"), ("role", "viewer")]).await;
    let code = invited.between("/portal/invitation#", "<");
    assert!(!ann.get(&format!("/portal/teams/{team}")).await.text.contains(&code), "the code is shown once");

    let mut bob = stranger(&dev, "bob@example.com");
    let accept = |code: &str| [("code", code.to_owned()), ("name", "Bob".to_owned()), ("password", PASSWORD.to_owned())];
    let send = async |person: &Person, code: &str| {
        let fields = accept(code);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        person.post("/portal/invitation", &fields).await
    };
    assert!(send(&bob, "not-a-code").await.mistake("code").contains("no invitation"));
    let joined = send(&bob, &code).await;
    bob.keep(&joined);
    assert!(send(&stranger(&dev, "z"), &code).await.mistake("code").contains("no invitation"), "it works once");

    assert_eq!(bob.get(&application).await.status, 200);
    let page = bob.post(&format!("{application}/keys"), &[("name", "x"), ("environment", "live"), ("days", "30"), ("addresses", "")]).await;
    assert_eq!(page.status, 403, "a viewer changes nothing");
    let members = ann.get(&format!("/portal/teams/{team}")).await;
    let of_bob = members.between(">bob@example.com</td>", "</tr>");
    let bobs = of_bob.split_once(&format!("/portal/teams/{team}/members/")).unwrap().1.split_once('/').unwrap().0.to_owned();
    let at = |act: &str| format!("/portal/teams/{team}/members/{bobs}/{act}");
    assert_eq!(bob.post(&at("role"), &[("role", "owner")]).await.status, 403, "nobody makes themselves more");
    ann.post(&at("role"), &[("role", "developer")]).await.leads_to();
    bob.key(&application, "bobs").await;
    // An owner who is one no more has no way back in: what they have given away ends with it.
    ann.post(&at("role"), &[("role", "owner")]).await.leads_to();
    let back = bob.post(&format!("/portal/teams/{team}/invitations"), &[("email", "bob-too@example.com"), ("role", "owner")]).await;
    let back = back.between("/portal/invitation#", "<");
    ann.post(&at("remove"), &[]).await.leads_to();
    assert!(send(&stranger(&dev, "w"), &back).await.mistake("code").contains("no invitation"));
    assert_eq!(bob.get(&application).await.status, 404);
    let of_ann = ann.get(&format!("/portal/teams/{team}")).await.between("/members/", "/");
    let last = ann.post(&format!("/portal/teams/{team}/members/{of_ann}/remove"), &[]).await;
    assert!(last.mistake("members").contains("needs an owner"));
}
