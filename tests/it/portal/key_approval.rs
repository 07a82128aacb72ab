//! Keys that wait for approval: where the API's owner wants it, developers ask for keys, and somebody else decides.

use harness::dev::Dev;
use harness::wait;
use serde_json::{Value, json};

use super::person::{PASSWORD, Person};
use super::{SOON, becomes, status};
use crate::calls::Calls;
use crate::program::{causeway, causeway_at};

/// A deployment whose owner approves keys.
async fn with_approval() -> Dev {
    let dev = Dev::start().await.unwrap();
    let folder = dev.writer().unwrap().node_config.parent().unwrap().parent().unwrap();
    let file = folder.join("gateway.yaml");
    let document = std::fs::read_to_string(&file).unwrap().replace("sign_up: open", "sign_up: open, keys: approval");
    std::fs::write(&file, document).unwrap();
    causeway_at(dev.ready(), &["apply", "-f", file.to_str().unwrap()]).await.expect(0);
    dev
}

fn person(dev: &Dev, email: &str) -> Person {
    Person::new(dev, dev.writer().unwrap(), email)
}

/// Somebody who decides, with a second factor.
async fn approver(dev: &Dev, email: &str) -> Person {
    let config = dev.writer().unwrap().node_config.to_str().unwrap().to_owned();
    let link = causeway(&["admin", "invite", "--config", &config, "--email", email, "--role", "approver"], &[], SOON).await.expect(0).stdout;
    let code = link.trim().split_once('#').unwrap().1.to_owned();
    let mut boss = person(dev, email);
    let page = boss.post("/portal/invitation", &[("code", &code), ("name", "Boss"), ("password", PASSWORD)]).await;
    boss.keep(&page);
    boss.enroll().await;
    boss
}

fn id(key: &str) -> &str {
    key.rsplit('/').next().unwrap()
}

/// Joins the team of somebody who has signed in, by an invitation.
async fn join(owner: &Person, team: &str, person: &mut Person) {
    let invited = owner.post(&format!("/portal/teams/{team}/invitations"), &[("email", &person.email), ("role", "developer")]).await;
    let code = invited.between("/portal/invitation#", "<");
    let joined = person.post("/portal/invitation", &[("code", &code)]).await;
    assert!(joined.leads_to().contains("joined"), "{joined:?}");
    person.keep(&joined);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_asks_for_a_key_and_somebody_else_decides() {
    let dev = with_approval().await;
    let ready = dev.ready();
    let mut ann = person(&dev, "ann@example.com");
    ann.sign_up("Ann").await;
    let application = ann.application("Shop").await;
    // The document reaches the node in a moment.
    let asks = async || ann.get(&application).await.text.contains("Ask for the key");
    wait::until("the node with the new document", SOON, asks).await.unwrap();
    let team = ann.get("/portal/applications").await.between("name=\"team\" value=\"", "\"");
    let mut boss = approver(&dev, "boss@example.com").await;
    let other = approver(&dev, "other@example.com").await;

    // It is shown once, and works nowhere.
    let (key, secret) = ann.key(&application, "laptop").await;
    let (second, second_secret) = ann.key(&application, "<b>server</b>").await;
    let page = ann.get(&key).await;
    assert!(page.text.contains("id=\"waits\"") && !page.text.contains("id=\"roll\"") && !page.text.contains("id=\"disable\""), "{}", page.text);
    assert_eq!(status(&dev, &secret).await, 401);
    for act in ["enable", "disable", "roll"] {
        let fields: &[(&str, &str)] = if act == "roll" { &[("hours", "0")] } else { &[] };
        assert_eq!(ann.post(&format!("{key}/{act}"), fields).await.status, 422, "{act} is no way around");
    }
    for act in ["approve", "refuse"] {
        assert_eq!(ann.post(&format!("/portal/approvals/keys/{}/{act}", id(&key)), &[]).await.status, 403, "a developer is no approver");
    }

    // Whoever joins the team decides no more, and neither does who has left it for a key that they have asked for.
    join(&ann, &team, &mut boss).await;
    let (third, third_secret) = boss.key(&application, "bosses").await;
    let queue = boss.get("/portal/approvals").await;
    assert_eq!((queue.text.matches("somebody else decides").count(), queue.text.matches(">Approve</button>").count()), (3, 0), "{}", queue.text);
    let own = boss.post(&format!("/portal/approvals/keys/{}/approve", id(&key)), &[]).await;
    assert!(own.status == 403 && own.text.contains("of your own team"), "{}", own.text);
    let own = boss.post(&format!("/portal/approvals/keys/{}/refuse", id(&key)), &[("reason", "no")]).await;
    assert_eq!(own.status, 403);
    let account = boss.get(&format!("/portal/teams/{team}")).await.text.clone();
    let account = account.split_once(">boss@example.com</td>").unwrap().1.split_once("/members/").unwrap().1.split_once('/').unwrap().0.to_owned();
    boss.post(&format!("/portal/teams/{team}/members/{account}/remove"), &[]).await.leads_to();
    assert_eq!(boss.post(&format!("/portal/approvals/keys/{}/approve", id(&third)), &[]).await.status, 403, "they have asked for it");
    assert_eq!(status(&dev, &third_secret).await, 401);

    // A refusal says why, to the approver who forgets it and to the team.
    let queue = other.get("/portal/approvals").await;
    assert!(queue.text.contains("&#60;b&#62;server") && !queue.text.contains("<b>server"), "{}", queue.text);
    let path = format!("/portal/approvals/keys/{}/refuse", id(&second));
    for wrong in ["", "  ", "two\nlines", &"x".repeat(301)] {
        assert!(other.post(&path, &[("reason", wrong)]).await.text.contains(&format!("id=\"reason-{}-mistake\"", id(&second))));
    }
    assert_eq!(other.post(&path, &[("reason", "the <i>plan</i> is for tests")]).await.leads_to(), "/portal/approvals?done=key-refused");
    let told = ann.get(&second).await;
    assert!(told.text.contains("the &#60;i&#62;plan&#60;/i&#62; is for tests") && told.text.contains(">refused</span>"), "{}", told.text);
    let late = boss.post(&format!("/portal/approvals/keys/{}/approve", id(&second)), &[]).await;
    assert!(late.status == 409 && late.text.contains("the key was refused at") && late.text.contains("is for tests"), "{}", late.text);
    assert_eq!(status(&dev, &second_secret).await, 401);

    // Who has left the team decides about the others' keys; and a team takes its own back.
    assert_eq!(boss.post(&format!("/portal/approvals/keys/{}/approve", id(&key)), &[]).await.leads_to(), "/portal/approvals?done=key-approved");
    becomes(&dev, &secret, 200).await;
    let shown = causeway_at(ready, &["keys", "show", id(&key)]).await.expect(0).stdout;
    assert!(shown.contains("approved at") && shown.contains(&account), "{shown}");
    ann.post(&format!("{third}/revoke"), &[("confirm", "bosses")]).await.leads_to();
    let gone = other.post(&format!("/portal/approvals/keys/{}/approve", id(&third)), &[]).await;
    assert_eq!(gone.status, 409, "{}", gone.text);

    // Each decision stands in the access log, under its own name.
    let calls = Calls::of(ready).unwrap();
    let acts = async |action: &str| {
        let page = calls.control(dev.writer().unwrap(), &format!("/v1/audit/events?action={action}&limit=50")).await.unwrap();
        let page: Value = serde_json::from_str(&page.body).unwrap();
        page["items"].as_array().unwrap().iter().filter(|item| item["status"] == json!(303)).map(|item| item["object"].clone()).collect::<Vec<_>>()
    };
    let noted = async || acts("key.refuse").await == [json!(format!("key:{}", id(&second)))] && acts("key.approve").await.len() == 1;
    wait::until("the records", SOON, noted).await.unwrap();
    dev.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_ask_for_keys_and_the_command_line_decides() {
    let dev = with_approval().await;
    let ready = dev.ready();
    let mut ann = person(&dev, "ann@example.com");
    ann.sign_up("Ann").await;
    let application = ann.application("Shop").await;
    let asks = async || ann.get(&application).await.text.contains("Ask for the key");
    wait::until("the node with the new document", SOON, asks).await.unwrap();
    let token = ann.token("laptop").await;
    let name = ann.get(&application).await.between("<dt>In records</dt><dd><code>", "<");
    let (control, ca) = (&dev.writer().unwrap().control, ready.ca.to_str().unwrap());
    let mine =
        async |arguments: &[&str]| causeway(arguments, &[("CAUSEWAY_CONTROL", control), ("CAUSEWAY_TOKEN", &token), ("CAUSEWAY_CA", ca)], SOON).await;

    let said = mine(&["keys", "create", "first", "--application", &name]).await.expect(0);
    assert!(said.stderr.contains("waits for approval"), "{said:?}");
    let asked = mine(&["keys", "create", "second", "--application", &name, "--json"]).await.expect(0).json();
    assert_eq!((&asked["state"], &asked["decision"]), (&json!("pending"), &Value::Null));
    let (id, secret) = (asked["id"].as_str().unwrap(), asked["secret"].as_str().unwrap());
    assert_eq!(status(&dev, secret).await, 401);
    for act in ["enable", "disable", "roll"] {
        assert!(mine(&["keys", act, id]).await.expect(1).stderr.contains("resource-conflict"), "{act} is no way around");
    }
    mine(&["keys", "approve", id]).await.expect(1);

    let waiting = causeway_at(ready, &["keys", "list", "--state", "pending", "--json"]).await.expect(0).json();
    assert_eq!(waiting["items"].as_array().unwrap().len(), 2);
    // An approval and a refusal at once: one is made, and the other is told which.
    let first = waiting["items"][1]["id"].as_str().unwrap();
    let (approve, refuse) = (["keys", "approve", first], ["keys", "refuse", first, "--reason", "two are too many"]);
    let (approved, refused) = tokio::join!(causeway_at(ready, &approve), causeway_at(ready, &refuse));
    let (lost, word) = if approved.code == Some(0) { (refused, "was approved at") } else { (approved, "was refused at") };
    assert!(lost.expect(1).stderr.contains(word), "the other is told");

    let none = causeway_at(ready, &["keys", "refuse", id, "--reason", " "]).await.expect(1);
    assert!(none.stderr.contains("/reason"), "{none:?}");
    causeway_at(ready, &["keys", "refuse", id, "--reason", "ask your lead first"]).await.expect(0);
    causeway_at(ready, &["keys", "refuse", id, "--reason", "another reason"]).await.expect(0);
    let shown = mine(&["keys", "show", id, "--json"]).await.expect(0).json();
    assert_eq!((&shown["state"], &shown["revoked_reason"], &shown["decision"]["verdict"]), (&json!("revoked"), &json!("refused"), &json!("refused")));
    assert_eq!(shown["decision"]["reason"], json!("ask your lead first"), "the first reason stays");
    // Operators make keys as they like.
    let theirs = causeway_at(ready, &["keys", "create", "theirs", "--application", &name, "--json"]).await.expect(0).json();
    assert_eq!(theirs["state"], json!("active"));
    dev.stop().await.unwrap();
}
