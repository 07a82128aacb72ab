//! Accounts that wait for somebody to let them in.

use harness::dev::Dev;
use harness::wait;
use serde_json::json;

use super::SOON;
use super::person::{PASSWORD, Person};
use crate::calls::Calls;
use crate::program::{causeway, causeway_at};

/// Two approvers at two nodes decide over one account at once, each time in another way: one of them does, and all of what is there
/// afterwards is of that decision.
async fn raced(dev: &Dev, boss: &Person) {
    let (writer, reader) = (dev.writer().unwrap().clone(), dev.reader().unwrap().clone());
    let config = writer.node_config.to_str().unwrap();
    let arguments = ["admin", "invite", "--config", config, "--email", "clerk@example.com", "--role", "approver"];
    let link = causeway(&arguments, &[], SOON).await.expect(0).stdout;
    let code = link.trim().split_once('#').unwrap().1.to_owned();
    let mut clerk = Person::new(dev, &reader, "clerk@example.com");
    let page = clerk.post("/portal/invitation", &[("code", &code), ("name", "Clerk"), ("password", PASSWORD)]).await;
    clerk.keep(&page);
    clerk.enroll().await;

    let sql = harness::sql::Sql::open(writer.postgres_port, &reader.postgres_data_dir).unwrap();
    let count = async |question: String| sql.ask("causeway", &question).await.unwrap()[0].parse::<u32>().unwrap();
    let visitor = Person::new(dev, &writer, "x");
    for round in 0..12 {
        let (email, team) = (format!("raced-{round}@example.com"), format!("Raced {round}"));
        let fields = [("name", "Ann"), ("email", &email), ("organization", &team), ("password", PASSWORD)];
        assert_eq!(visitor.post("/portal/sign-up", &fields).await.status, 200);
        let id = sql.ask("causeway", &format!("select account_id from account where email = '{email}'")).await.unwrap().remove(0);
        let listed = async || clerk.get("/portal/approvals").await.text.contains(&email);
        wait::until("the account at the other node", SOON, listed).await.unwrap();
        let listed = clerk.get("/portal/approvals").await;
        let (_, rest) = listed.text.split_once(&email).unwrap();
        let account = rest.split_once("/portal/approvals/accounts/").unwrap().1.split_once('/').unwrap().0.to_owned();
        let act = |verb: &str| format!("/portal/approvals/accounts/{account}/{verb}");
        let (first, second) = [("approve", "approve"), ("approve", "refuse"), ("refuse", "refuse"), ("refuse", "approve")][round % 4];

        let (here, there) = (act(first), act(second));
        let (one, other) = tokio::join!(boss.post(&here, &[]), clerk.post(&there, &[]));
        let (won, lost) = if one.status == 303 { (first, &other) } else { (second, &one) };
        assert!([one.status, other.status].contains(&303) && [404, 409].contains(&lost.status), "{first} {}, {second} {}", one.status, other.status);
        let is_in = u32::from(won == "approve");
        let states = format!("select count(*) from account where account_id = '{id}' and state = 'active'");
        let members = format!("select count(*) from team_member where account_id = '{id}'");
        let teams = format!("select count(*) from consumer where name ~ '^raced-{round}(-|$)'");
        let accounts = format!("select count(*) from account where email = '{email}'");
        let now = [count(states).await, count(members).await, count(teams).await, count(accounts).await];
        assert_eq!(now, [is_in; 4], "{first} and {second}: {won} has won");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_approval_an_account_waits_for_an_operator() {
    let dev = Dev::start().await.unwrap();
    let writer = dev.writer().unwrap().clone();
    let folder = writer.node_config.parent().unwrap().parent().unwrap();
    let file = folder.join("gateway.yaml");
    let document = std::fs::read_to_string(&file).unwrap().replace("sign_up: open", "sign_up: approval");
    std::fs::write(&file, document).unwrap();
    causeway_at(dev.ready(), &["apply", "-f", file.to_str().unwrap()]).await.expect(0);

    let mut ann = Person::new(&dev, &writer, "waits@example.com");
    let fields = [("name", "Ann"), ("email", "waits@example.com"), ("organization", "Patience"), ("password", PASSWORD)];
    let asks = async || {
        let page = Person::new(&dev, &writer, "x").post("/portal/sign-up", &fields).await;
        page.status == 200 && page.text.contains("Your request is in")
    };
    wait::until("the node with the new document", SOON, asks).await.unwrap();
    assert!(asks().await, "the same answer for an address that is known");
    assert_eq!(ann.sign_in(PASSWORD).await.status, 422, "it waits");

    let config = writer.node_config.to_str().unwrap();
    let link =
        causeway(&["admin", "invite", "--config", config, "--email", "Boss@example.com", "--role", "approver"], &[], SOON).await.expect(0).stdout;
    let code = link.trim().split_once('#').unwrap().1.to_owned();
    let mut boss = Person::new(&dev, &writer, "boss@example.com");
    let page = boss.post("/portal/invitation", &[("code", &code), ("name", "Boss"), ("password", "something else to say")]).await;
    boss.keep(&page);
    assert_eq!(boss.get("/portal/approvals").await.leads_to(), "/portal/account/second-factor");
    boss.enroll().await;
    let waiting = boss.get("/portal/approvals").await;
    assert!(waiting.text.contains("waits@example.com") && waiting.text.contains("Patience"), "{}", waiting.text);
    let approve = waiting.between("action=\"/portal/approvals/accounts/", "/approve\"");
    let path = format!("/portal/approvals/accounts/{approve}/approve");
    let (one, other) = tokio::join!(boss.post(&path, &[]), boss.post(&path, &[]));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 409], "two approvals at once make one team");
    assert_eq!(ann.sign_in(PASSWORD).await.status, 303);
    ann.application("Shop").await;

    raced(&dev, &boss).await;

    // The same from the command line; and whoever is shut out is out at once.
    let ready = dev.ready();
    let fields = [("name", "Cy"), ("email", "cy@example.com"), ("organization", "demo"), ("password", PASSWORD)];
    assert_eq!(Person::new(&dev, &writer, "x").post("/portal/sign-up", &fields).await.status, 200);
    let listed = causeway_at(ready, &["accounts", "list", "--state", "pending", "--json"]).await.expect(0).json();
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!((listed["items"].as_array().unwrap().len(), &listed["items"][0]["email"]), (1, &json!("cy@example.com")));
    causeway_at(ready, &["accounts", "approve", &id]).await.expect(0);
    let again = causeway_at(ready, &["accounts", "approve", &id]).await.expect(1);
    assert!(again.stderr.contains("resource-conflict"), "{again:?}");
    let mut cy = Person::new(&dev, &writer, "cy@example.com");
    assert_eq!(cy.sign_in(PASSWORD).await.status, 303);
    let consumers = Calls::of(ready).unwrap().control(&writer, "/v1/consumers").await.unwrap().body;
    assert_eq!(consumers.matches("\"name\":\"demo\"").count(), 1, "nobody takes the name that a route or a file means: {consumers}");
    causeway_at(ready, &["accounts", "disable", &id]).await.expect(0);
    assert_eq!((cy.get("/portal/account").await.status, cy.sign_in(PASSWORD).await.status), (303, 422));
    causeway_at(ready, &["accounts", "enable", &id]).await.expect(0);
    assert_eq!(cy.sign_in(PASSWORD).await.status, 303);
    let link = causeway_at(ready, &["accounts", "invite", "eve@example.com", "--role", "auditor"]).await.expect(0).stdout;
    assert!(link.trim().starts_with("/portal/invitation#"), "{link}");
    dev.stop().await.unwrap();
}
