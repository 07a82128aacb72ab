//! Signing in with a second factor, and what helps whoever has lost it or the password.

use harness::dev::{Dev, RegionReady};
use harness::wait;

use super::person::{Device, PASSWORD, Person};
use super::{SOON, member, stranger};
use crate::calls::{Calls, shared};
use crate::program::{Ran, causeway, causeway_at};

const HOME: &str = "/portal/applications";
const ENROLL: &str = "/portal/account/second-factor";

async fn invitation(dev: &Dev, email: &str, role: &str) -> String {
    let config = dev.writer().unwrap().node_config.to_str().unwrap();
    let arguments = ["admin", "invite", "--config", config, "--email", email, "--role", role];
    let link = causeway(&arguments, &[], SOON).await.expect(0).stdout;
    link.trim().split_once('#').unwrap().1.to_owned()
}

/// An operator who has accepted the invitation and done nothing else.
async fn invited(dev: &Dev, email: &str, role: &str) -> Person {
    let code = invitation(dev, email, role).await;
    let mut boss = stranger(dev, email);
    let page = boss.post("/portal/invitation", &[("code", &code), ("name", "Boss"), ("password", PASSWORD)]).await;
    boss.keep(&page);
    boss
}

async fn operator(dev: &Dev, email: &str, role: &str) -> (Person, Device) {
    let mut boss = invited(dev, email, role).await;
    let device = boss.enroll().await;
    (boss, device)
}

/// Somebody at another node, who has shown their password.
async fn half_open(dev: &Dev, region: &RegionReady, email: &str) -> Person {
    let mut person = Person::new(dev, region, email);
    assert_eq!(person.sign_in(PASSWORD).await.leads_to(), "/portal/sign-in/code");
    person
}

async fn id_of(dev: &Dev, email: &str) -> String {
    let listed = causeway_at(dev.ready(), &["accounts", "list", "--limit", "200", "--json"]).await.expect(0).json();
    let found = listed["items"].as_array().unwrap().iter().find(|item| item["email"] == email).cloned();
    found.unwrap()["id"].as_str().unwrap().to_owned()
}

async fn accounts(dev: &Dev, verb: &str, id: &str) -> Ran {
    causeway_at(dev.ready(), &["accounts", verb, id]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sets_up_a_second_factor_before_anything_else() {
    let dev = shared().await;
    let mut boss = invited(&dev, "enroll@example.com", "admin").await;
    let first = boss.cookie.clone();
    for path in ["/portal/approvals", "/portal/account", HOME, "/portal/requests", "/portal/applications/app_x", "/portal/keys/0123456789ab/live"] {
        assert_eq!(boss.get(path).await.leads_to(), ENROLL, "{path}");
    }
    for path in ["/portal/account/password", "/portal/applications", "/portal/approvals/keys/0123456789ab/approve", "/portal/apis/demo/echo"] {
        assert_eq!(boss.post(path, &[]).await.leads_to(), ENROLL, "{path}");
    }
    assert_eq!(boss.get("/portal/").await.status, 200, "what is for everybody is for them, too");

    let page = boss.get(ENROLL).await;
    assert!(page.text.contains("<svg class=\"qr\"") && !page.text.contains("href=\"/portal/requests\""), "{}", page.text);
    let offer = page.between("name=\"offer\" value=\"", "\"");
    let confirm = async |offer: &str, code: &str| boss.post("/portal/account/second-factor/confirm", &[("offer", offer), ("code", code)]).await;
    let wrong = confirm(&offer, "000000").await;
    assert!(wrong.mistake("code").contains("does not fit"));
    assert_eq!(wrong.between("The text for your app\">", "<"), page.between("The text for your app\">", "<"), "the same secret once more");
    for other in ["", "x", &offer.to_lowercase(), &offer[..offer.len() - 4]] {
        assert_eq!(confirm(other, "000000").await.leads_to(), ENROLL, "a secret that we have not offered");
    }
    let mut other = invited(&dev, "enroll-too@example.com", "viewer").await;
    let theirs = other.get(ENROLL).await.between("name=\"offer\" value=\"", "\"");
    assert_eq!(confirm(&theirs, "000000").await.leads_to(), ENROLL, "a secret that somebody else was offered");
    other.enroll().await;

    let device = boss.enroll().await;
    assert_eq!(device.recovery_codes.len(), 10);
    assert_ne!(boss.cookie, first, "another session");
    assert_eq!((boss.get("/portal/approvals").await.status, boss.get(HOME).await.status), (200, 200));
    let mut before = boss.clone();
    before.cookie = first;
    assert_eq!(before.get(HOME).await.leads_to(), format!("/portal/sign-in?next={HOME}"), "the one before has ended");
    for path in [ENROLL, "/portal/account"] {
        let page = boss.get(path).await;
        assert!(!page.text.contains("otpauth") && !page.text.contains("The text for your app") && !page.text.contains(&device.recovery_codes[0]));
    }
    let again = boss.post("/portal/account/second-factor/begin", &[("password", PASSWORD)]).await;
    assert_eq!(again.leads_to(), ENROLL, "nobody puts another one in its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_waits_for_a_code_that_counts_once() {
    let dev = shared().await;
    let (writer, reader) = (dev.writer().unwrap().clone(), dev.reader().unwrap().clone());
    let (boss, device) = operator(&dev, "code@example.com", "viewer").await;
    let half = async || half_open(&dev, &writer, "code@example.com").await;

    let mut waits = half().await;
    assert!(waits.cookie.as_deref().unwrap().starts_with("__Host-causeway-code="));
    assert_eq!(waits.get(HOME).await.leads_to(), format!("/portal/sign-in?next={HOME}"), "it opens nothing");
    let mut renamed = waits.clone();
    renamed.cookie = waits.cookie.as_deref().map(|cookie| cookie.replace("-code=", "="));
    assert_eq!(renamed.get(HOME).await.status, 303, "nor under another name");
    assert_eq!(waits.get("/portal/sign-in/code").await.status, 200);
    assert!(waits.send_code(&device.first).await.mistake("code").contains("used before"), "the code of the setting up");
    assert!(waits.send_code(&device.code(-2)).await.mistake("code").contains("does not fit"));
    for no_code in ["", "12345", "1234567", "abcdef", "１２３４５６"] {
        assert!(waits.send_code(no_code).await.mistake("code").contains("six digits"), "{no_code}");
    }
    assert_eq!(waits.send_code(&device.code(0)).await.leads_to(), HOME);
    assert_eq!(waits.get(HOME).await.status, 200);

    // Two nodes are shown one code at once.
    let (mut here, mut there) = (half().await, half_open(&dev, &reader, "code@example.com").await);
    let next = device.code(1);
    let (one, other) = tokio::join!(here.send_code(&next), there.send_code(&next));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 422], "one of them takes it");
    for recovery in [&device.recovery_codes[0], &device.recovery_codes[1].to_uppercase().replace('-', " ")] {
        let (mut here, mut there) = (half().await, half_open(&dev, &reader, "code@example.com").await);
        let (one, other) = tokio::join!(here.send_code(recovery), there.send_code(recovery));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [303, 422], "a recovery code works once");
    }
    assert!(boss.get(ENROLL).await.text.contains("8 of your recovery codes are left"));
    let mut stale = waits.clone();
    stale.cookie = Some("__Host-causeway-code=".to_owned() + &"A".repeat(43));
    assert_eq!(stale.send_code(&device.recovery_codes[2]).await.leads_to(), "/portal/sign-in?done=sign-in-over");
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_not_guessed() {
    let dev = shared().await;
    let writer = dev.writer().unwrap().clone();
    let (_, device) = operator(&dev, "guess@example.com", "viewer").await;
    let mut guesser = half_open(&dev, &writer, "guess@example.com").await;
    for _ in 0..5 {
        guesser.send_code("000000").await.mistake("code");
    }
    let cookie = guesser.cookie.clone();
    let over = guesser.send_code(&device.recovery_codes[0]).await;
    assert_eq!(over.leads_to(), "/portal/sign-in?done=sign-in-over", "the sixth is not looked at, right or not");
    guesser.cookie = cookie;
    assert_eq!(guesser.get("/portal/sign-in/code").await.leads_to(), "/portal/sign-in");
    // A new sign-in brings five more tries; all of them together are bounded, too.
    let mut guesser = half_open(&dev, &writer, "guess@example.com").await;
    for _ in 0..5 {
        assert_eq!(guesser.send_code("000000").await.status, 422);
    }
    let mut guesser = half_open(&dev, &writer, "guess@example.com").await;
    assert_eq!(guesser.send_code("000000").await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_may_have_a_second_factor_and_remove_it_with_both() {
    let dev = shared().await;
    let mut ann = member(&dev, "optional@example.com", "Optional").await;
    let mut elsewhere = stranger(&dev, "optional@example.com");
    elsewhere.sign_in(PASSWORD).await;
    assert!(ann.post("/portal/account/second-factor/begin", &[("password", "not this one at all")]).await.mistake("password").contains("not your"));
    let page = ann.post("/portal/account/second-factor/begin", &[("password", PASSWORD)]).await;
    let device = ann.take(&page).await;
    assert_eq!((ann.get(HOME).await.status, elsewhere.get(HOME).await.status), (200, 303), "sessions of before have ended");
    assert_eq!(elsewhere.sign_in(PASSWORD).await.leads_to(), "/portal/sign-in/code");

    // A new password asks for no code: the session was begun with one.
    let change = [("current", PASSWORD), ("password", "another sentence of mine")];
    let page = ann.post("/portal/account/password", &change).await;
    ann.keep(&page);
    assert_eq!(ann.get(HOME).await.status, 200);
    assert_eq!(elsewhere.send_code(&device.code(0)).await.leads_to(), "/portal/sign-in?done=sign-in-over", "a sign-in with the old one is over");

    let remove = async |person: &Person, current: &str, code: &str| {
        person.post("/portal/account/second-factor/remove", &[("current", current), ("code", code)]).await
    };
    assert!(remove(&ann, PASSWORD, &device.code(0)).await.mistake("current").contains("not your password"));
    assert!(remove(&ann, "another sentence of mine", "000000").await.mistake("code").contains("does not fit"));
    let page = remove(&ann, "another sentence of mine", &device.code(0)).await;
    assert_eq!(page.leads_to(), "/portal/account?done=factor-removed");
    ann.keep(&page);
    assert_eq!(ann.get(HOME).await.status, 200);
    assert_eq!(elsewhere.sign_in("another sentence of mine").await.leads_to(), HOME);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_resets_the_second_factor_of_somebody_who_may_no_more_than_they() {
    let dev = shared().await;
    let (mut boss, device) = operator(&dev, "lost@example.com", "admin").await;
    let id = id_of(&dev, "lost@example.com").await;
    let mut waits = half_open(&dev, dev.writer().unwrap(), "lost@example.com").await;

    let token = causeway_at(dev.ready(), &["operators", "create", "half", "--role", "operator"]).await.expect(0).stdout;
    let writer = dev.writer().unwrap();
    let environment =
        [("CAUSEWAY_CONTROL", writer.control.as_str()), ("CAUSEWAY_TOKEN", token.trim()), ("CAUSEWAY_CA", dev.ready().ca.to_str().unwrap())];
    for verb in ["reset-second-factor", "reset-password"] {
        let refused = causeway(&["accounts", verb, &id], &environment, SOON).await.expect(1);
        assert!(refused.stderr.contains("role-insufficient"), "an operator does not become an auditor: {refused:?}");
    }
    assert_eq!(boss.get(HOME).await.status, 200);

    accounts(&dev, "reset-second-factor", &id).await.expect(0);
    assert_eq!(boss.get(HOME).await.status, 303, "its sessions have ended");
    assert_eq!(waits.send_code(&device.code(0)).await.leads_to(), "/portal/sign-in?done=sign-in-over");
    let again = accounts(&dev, "reset-second-factor", &id).await.expect(1);
    assert!(again.stderr.contains("resource-conflict"), "{again:?}");
    assert_eq!(boss.sign_in(PASSWORD).await.leads_to(), HOME);
    assert_eq!(boss.get(HOME).await.leads_to(), ENROLL, "and there is another to set up");
    let other = boss.enroll().await;
    assert_ne!(other.code(0), device.code(0));
    assert_eq!(boss.get(HOME).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_another_password_works_once_and_leaves_the_second_factor() {
    let dev = shared().await;
    let (mut boss, device) = operator(&dev, "forgot@example.com", "viewer").await;
    let id = id_of(&dev, "forgot@example.com").await;
    let link = async || accounts(&dev, "reset-password", &id).await.expect(0).stdout.trim().rsplit_once('#').unwrap().1.to_owned();
    let (replaced, code) = (link().await, link().await);
    let set = async |code: &str, password: &str| stranger(&dev, "w").post("/portal/reset", &[("code", code), ("password", password)]).await;
    for no_code in ["", "x", &replaced] {
        assert!(set(no_code, "a sentence that is new").await.mistake("code").contains("ask for another"));
    }
    assert!(set(&code, "short").await.mistake("password").contains("12"));
    assert!(set(&code, "my forgot password").await.mistake("password").contains("mail address"));
    assert_eq!(boss.get(HOME).await.status, 200, "nothing has changed yet");

    let (one, other) = tokio::join!(set(&code, "a sentence that is new"), set(&code, "another that is new"));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 422], "it works once");
    let new = if one.status == 303 { "a sentence that is new" } else { "another that is new" };
    assert_eq!(boss.get(HOME).await.status, 303, "every session has ended");
    assert_eq!(boss.sign_in(PASSWORD).await.status, 422);
    assert_eq!(boss.sign_in(new).await.leads_to(), "/portal/sign-in/code");
    assert_eq!(boss.send_code(&device.code(0)).await.leads_to(), HOME);

    // A link that waits ends with whatever changes the account.
    let code = link().await;
    let page = boss.post("/portal/account/password", &[("current", new), ("password", PASSWORD)]).await;
    boss.keep(&page);
    assert_eq!(set(&code, "a sentence that is new").await.status, 422);
    let code = link().await;
    accounts(&dev, "disable", &id).await.expect(0);
    assert_eq!(set(&code, "a sentence that is new").await.status, 422);
    let refused = accounts(&dev, "reset-password", &id).await.expect(1);
    assert!(refused.stderr.contains("resource-conflict"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_name_the_account_and_hold_no_code() {
    let dev = shared().await;
    let (boss, device) = operator(&dev, "records@example.com", "viewer").await;
    let id = id_of(&dev, "records@example.com").await;
    let mut guesser = stranger(&dev, "records@example.com");
    guesser.sign_in("not this one at all").await;
    let mut waits = half_open(&dev, dev.writer().unwrap(), "records@example.com").await;
    let recovery = device.recovery_codes[0].clone();
    waits.send_code("000000").await.mistake("code");
    assert_eq!(waits.send_code(&recovery).await.leads_to(), HOME);
    let link = accounts(&dev, "reset-password", &id).await.expect(0).stdout.trim().rsplit_once('#').unwrap().1.to_owned();
    let set = stranger(&dev, "w").post("/portal/reset", &[("code", &link), ("password", "a sentence that is new")]).await;
    assert_eq!(set.status, 303);
    drop(boss);

    let calls = Calls::of(dev.ready()).unwrap();
    let object = format!("account:{id}");
    let seen = async || {
        let answer = calls.control(dev.writer().unwrap(), "/v1/audit/events?class=admin&limit=200").await.unwrap().json();
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().filter(|item| item["object"] == object.as_str()).collect::<Vec<_>>()
    };
    let expected = [
        ("account.set_second_factor", "ok"),
        ("account.sign_in", "denied"),
        ("account.sign_in", "ok"),
        ("account.sign_in_code", "denied"),
        ("account.sign_in_code", "ok"),
        ("account.reset", "ok"),
        ("account.set_password", "ok"),
    ];
    let has = |items: &[serde_json::Value], (action, outcome): (&str, &str)| {
        items.iter().any(|item| item["action"] == action && item["outcome"] == outcome)
    };
    let complete = wait::until("the records", SOON, async || {
        let items = seen().await;
        expected.iter().all(|one| has(&items, *one))
    })
    .await;
    let items = seen().await;
    assert!(complete.is_ok(), "{items:#?}");
    let text = format!("{items:?}");
    for secret in [recovery.as_str(), &recovery.replace('-', ""), &link, "records@example.com", PASSWORD] {
        assert!(!text.contains(secret), "{secret}");
    }
}
