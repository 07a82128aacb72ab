//! People and programs are told: by webhook and by mail, from two nodes, at least once, and never anything that lets somebody in.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use harness::dev::Dev;
use harness::hook::{self, Receiver};
use harness::node::{Node, Under};
use harness::smtp::{self, MailServer, Security, Stage};
use harness::sql::Sql;
use harness::wait;
use serde_json::json;

use super::person::Person;
use super::{SOON, member};
use crate::calls::{Calls, shared};
use crate::program::causeway_at;

/// Retries wait for seconds, longer each time.
const AFTER_RETRIES: Duration = Duration::from_secs(90);

/// A deployment whose two nodes say the same about notifications.
struct Place {
    writer: Node,
    reader: Node,
    dev: Dev,
    calls: Calls,
    sql: Sql,
}

/// The certificate that servers on this machine have, and its key.
fn certificate(dev: &Dev) -> (PathBuf, PathBuf) {
    let folder = dev.ready().ca.parent().unwrap();
    (folder.join("server.pem"), folder.join("server.key"))
}

async fn receiver(dev: &Dev) -> Receiver {
    let (certificate, key) = certificate(dev);
    Receiver::start(&certificate, &key).await.unwrap()
}

impl Place {
    async fn start(dev: Dev, notifications: &str) -> Self {
        let (writer, reader) = (dev.writer().unwrap().clone(), dev.reader().unwrap().clone());
        let sql = Sql::open(writer.postgres_port, &reader.postgres_data_dir).unwrap();
        let (writer, reader) = (Node::adopt(&dev, &writer).unwrap(), Node::adopt(&dev, &reader).unwrap());
        let calls = Calls::of(dev.ready()).unwrap();
        let mut place = Self { writer, reader, dev, calls, sql };
        place.again_with(|text| format!("{text}\n{notifications}\n")).await;
        place
    }

    /// Restarts both nodes, changed alike.
    async fn again_with(&mut self, edit: impl Fn(&str) -> String) {
        self.kill().await;
        for node in [&mut self.writer, &mut self.reader] {
            node.reconfigure(&edit).unwrap();
        }
        self.revive().await;
    }

    async fn kill(&mut self) {
        self.writer.kill().await.unwrap();
        self.reader.kill().await.unwrap();
    }

    async fn revive(&mut self) {
        for node in [&mut self.writer, &mut self.reader] {
            node.start(Under::Bare).await.unwrap();
            node.wait_ready(Duration::from_secs(40)).await.unwrap();
        }
    }

    async fn count(&self, of: &str) -> u64 {
        let rows = self.sql.ask("causeway", &format!("select count(*) from notification where {of}")).await.unwrap();
        rows[0].parse().unwrap()
    }

    async fn settled(&self) {
        let waiting = "state = 'queued' and channel = 'webhook'";
        wait::until("an empty outbox", AFTER_RETRIES, async || self.count(waiting).await == 0).await.unwrap();
    }
}

/// The address of the page on which a team says how it is told.
async fn team_of(person: &Person) -> String {
    let team = person.get("/portal/applications").await.between("name=\"team\" value=\"", "\"");
    format!("/portal/teams/{team}")
}

/// Sets the webhook of a team; its secret.
async fn hook(person: &Person, url: &str) -> String {
    let page = person.post(&format!("{}/webhook", team_of(person).await), &[("url", url)]).await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.between("aria-label=\"The secret of the webhook\">", "<")
}

async fn page_shows(person: &Person, words: &str, limit: Duration) {
    let page = format!("{}/notifications", team_of(person).await);
    let shown = wait::until("the words on the page", limit, async || person.get(&page).await.text.contains(words)).await;
    assert!(shown.is_ok(), "no {words:?} in {}", person.get(&page).await.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_is_signed_told_again_until_it_is_taken_and_switched_off_by_a_410() {
    let dev = Dev::start().await.unwrap();
    let hooks = receiver(&dev).await;
    let ca = dev.ready().ca.display().to_string();
    let place = Place::start(dev, &format!("notifications: {{ ca: {ca}, allow_private_addresses: true }}")).await;
    let ann = member(&place.dev, "hooked@example.com", "Hooked").await;
    let team = team_of(&ann).await;
    let secret = hook(&ann, &hooks.url("localhost")).await;
    assert!(!ann.get(&format!("{team}/notifications")).await.text.contains(&secret), "the secret is shown twice");

    ann.post(&format!("{team}/webhook/test"), &[]).await.leads_to();
    wait::until("the test", SOON, async || hooks.calls().len() == 1).await.unwrap();
    let call = hooks.calls().remove(0);
    assert!(call.is_signed_by(&secret).unwrap(), "{call:?}");
    assert!(!call.is_signed_by("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(), "any secret would do");
    assert_eq!((call.path.as_str(), call.json().unwrap()["type"].as_str()), ("/hooks?team=1", Some("test")));
    page_shows(&ann, call.id(), SOON).await;
    page_shows(&ann, "delivered", SOON).await;

    hooks.behave(hook::Manner::Status(500));
    let application = ann.application("Shop").await;
    let (key, key_secret) = ann.key(&application, "laptop").await;
    wait::until("two attempts", AFTER_RETRIES, async || hooks.calls().len() == 3).await.unwrap();
    page_shows(&ann, "the receiver answered 500", SOON).await;
    hooks.behave(hook::Manner::Redirect);
    wait::until("an attempt that is sent elsewhere", AFTER_RETRIES, async || hooks.calls().len() == 4).await.unwrap();
    page_shows(&ann, "redirects are not followed", SOON).await;
    // A body without an end is not waited for.
    hooks.behave(hook::Manner::Endless);
    place.settled().await;

    let told: Vec<_> = hooks.calls().into_iter().skip(1).collect();
    assert!(told.len() == 4 && told.iter().all(|call| call.path == "/hooks?team=1" && call.is_signed_by(&secret).unwrap()), "{told:?}");
    assert!(told.iter().all(|call| call.id() == told[0].id() && call.body == told[0].body), "an attempt is another one: {told:?}");
    let said = told[0].json().unwrap();
    assert_eq!((&said["type"], &said["data"]["key"]["name"]), (&json!("key.issued"), &json!("laptop")));
    assert_eq!(said["data"]["key"]["id"], json!(key.rsplit('/').next().unwrap()));
    assert!(!told[0].body.contains(&key_secret[21..64]) && !told[0].body.contains("hooked@"), "{}", told[0].body);

    hooks.behave(hook::Manner::Status(410));
    ann.post(&format!("{team}/webhook/test"), &[]).await.leads_to();
    page_shows(&ann, "its receiver answered 410", SOON).await;
    let before = place.count("channel = 'webhook'").await;
    ann.key(&application, "desktop").await;
    assert_eq!(place.count("channel = 'webhook'").await, before, "a webhook that is off is told");
    let refused = ann.post(&format!("{team}/webhook/test"), &[]).await;
    assert!(refused.mistake("test").contains("no webhook that is on"));
}

/// Whoever names an address must not be able to have the gateway ask what only it can reach.
#[tokio::test(flavor = "multi_thread")]
async fn webhook_to_an_address_of_this_machine_is_never_connected_to() {
    let dev = shared().await;
    let hooks = receiver(&dev).await;
    for (number, host) in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"].into_iter().enumerate() {
        let ann = member(&dev, &format!("inside{number}@example.com"), "Inside").await;
        hook(&ann, &hooks.url(host)).await;
        ann.post(&format!("{}/webhook/test", team_of(&ann).await), &[]).await.leads_to();
        page_shows(&ann, "the address is not a public one", SOON).await;
    }
    assert_eq!(hooks.connections(), 0, "the receiver was connected to");

    let ann = member(&dev, "plain@example.com", "Plain").await;
    let team = team_of(&ann).await;
    for bad in ["http://example.com/", "https://a:b@example.com/", "ftp://example.com", "example.com", ""] {
        let page = ann.post(&format!("{team}/webhook"), &[("url", bad)]).await;
        assert!(page.mistake("url").contains("must"), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_with_the_nodes_and_two_of_them_tell_each_thing_once() {
    let dev = Dev::start().await.unwrap();
    let hooks = receiver(&dev).await;
    let ca = dev.ready().ca.display().to_string();
    let mut place = Place::start(dev, &format!("notifications: {{ ca: {ca}, allow_private_addresses: true }}")).await;
    let ann = member(&place.dev, "lost@example.com", "Lost").await;
    hook(&ann, &hooks.url("localhost")).await;
    hooks.behave(hook::Manner::Silent);
    let application = ann.application("Shop").await;
    let (key, _) = ann.key(&application, "first").await;
    wait::until("a call that is not answered", SOON, async || !hooks.calls().is_empty()).await.unwrap();

    place.kill().await;
    hooks.behave(hook::Manner::Status(204));
    let id = key.rsplit('/').next().unwrap();
    let later = "created_at = now() - interval '60 days', expires_at = now() + interval '2 days'";
    place.sql.ask("causeway", &format!("update api_key set {later} where key_id = '{id}'")).await.unwrap();
    // What the minute of a claim does.
    place.sql.ask("causeway", "update notification set leased_until = now()").await.unwrap();
    place.revive().await;
    place.settled().await;

    let kind = |call: &hook::Call| call.json().unwrap()["type"].as_str().unwrap().to_owned();
    let issued: Vec<_> = hooks.calls().into_iter().filter(|call| kind(call) == "key.issued").collect();
    assert!(issued.len() >= 2 && issued.iter().all(|call| call.id() == issued[0].id()), "{issued:?}");
    let reminded = async || hooks.calls().into_iter().filter(|call| kind(call) == "key.ends").collect::<Vec<_>>();
    wait::until("the reminder", SOON, async || !reminded().await.is_empty()).await.unwrap();

    let before = hooks.calls().len();
    for number in 0..12 {
        ann.key(&application, &format!("key-{number}")).await;
    }
    place.settled().await;
    let calls = hooks.calls();
    let ids: BTreeSet<_> = calls[before..].iter().map(hook::Call::id).collect();
    assert_eq!((calls.len() - before, ids.len()), (12, 12), "something was told twice, or not");
    let reminded = reminded().await;
    assert!(matches!(&reminded[..], [only] if only.json().unwrap()["data"]["days"] == json!(3)), "two nodes remind twice: {reminded:?}");
}

/// `notifications` with a mail server on this machine.
fn with_mail(dev: &Dev, tls: &str, port: u16) -> String {
    let ca = dev.ready().ca.display().to_string();
    let password = dev.ready().ca.with_file_name("mail-password");
    std::fs::write(&password, smtp::PASSWORD).unwrap();
    format!(
        "notifications: {{ portal_url: \"https://dev.example.com\", operators: [ops@example.com], smtp: {{ host: 127.0.0.1, port: {port}, tls: {tls}, \
         user: {}, password: \"file:{}\", from: \"Causeway <no-reply@example.com>\", ca: {ca} }} }}",
        smtp::USER,
        password.display()
    )
}

async fn mail_server(dev: &Dev, security: Security) -> MailServer {
    let (certificate, key) = certificate(dev);
    MailServer::start(&certificate, &key, security).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_reach_the_team_and_operators_through_a_server_that_is_not_always_well() {
    let dev = Dev::start().await.unwrap();
    let server = mail_server(&dev, Security::Implicit).await;
    let notifications = with_mail(&dev, "required", server.port());
    let place = Place::start(dev, &notifications).await;
    let ann = member(&place.dev, "mailed@example.com", "Mailed").await;
    let application = ann.application("Shop").await;
    let of =
        |subject: &str| server.mails().into_iter().filter(|mail| mail.field("Subject").is_some_and(|found| found == subject)).collect::<Vec<_>>();

    // `causeway dev` has invited its first operator.
    wait::until("the invitation of the operator", SOON, async || place.count("kind = 'invitation.made' and state = 'delivered'").await == 1)
        .await
        .unwrap();
    // Refused for now, then in the middle, then taken.
    server.behave(smtp::Manner::Refuse(Stage::Content, 451));
    let (key, secret) = ann.key(&application, "laptop").await;
    wait::until("an attempt", SOON, async || place.count("kind = 'key.issued' and fault like '%451%'").await == 1).await.unwrap();
    server.behave(smtp::Manner::HangUp(Stage::Content));
    wait::until("another", AFTER_RETRIES, async || place.count("kind = 'key.issued' and fault like '%broke off%'").await == 1).await.unwrap();
    server.behave(smtp::Manner::Well);
    wait::until("the mail", AFTER_RETRIES, async || of("Key laptop was issued").len() == 1).await.unwrap();
    let mail = of("Key laptop was issued").remove(0);
    assert_eq!((mail.from.as_str(), &mail.to[..]), ("no-reply@example.com", &["mailed@example.com".to_owned()][..]));
    let body = mail.body().unwrap();
    for part in ["Who: Ann", &format!("https://dev.example.com{key}")] {
        assert!(body.contains(part), "no {part} in {body}");
    }
    assert!(!body.contains(&secret[21..64]));

    // Refused for good: visible to operators, who try it again.
    server.behave(smtp::Manner::Refuse(Stage::Receiver, 550));
    ann.key(&application, "Schlüssel").await;
    wait::until("the end of it", SOON, async || place.count("state = 'failed'").await == 1).await.unwrap();
    server.behave(smtp::Manner::Well);
    let failed = causeway_at(place.dev.ready(), &["notifications", "list", "--state", "failed", "--json"]).await.expect(0).json();
    let (id, fault) = (failed["items"][0]["id"].as_str().unwrap(), failed["items"][0]["fault"].as_str().unwrap());
    assert!(failed["items"].as_array().unwrap().len() == 1 && fault.contains("550"), "{failed}");
    causeway_at(place.dev.ready(), &["notifications", "retry", id]).await.expect(0);
    let named = format!("<{id}@example.com>");
    let is_there = |mail: &smtp::Mail| mail.field("Message-ID").as_deref() == Some(named.as_str());
    wait::until("the mail that was retried", SOON, async || server.mails().iter().any(is_there)).await.unwrap();
    let mail = server.mails().into_iter().find(is_there).unwrap();
    assert!(mail.text.is_ascii() && mail.body().unwrap().contains("Schlüssel"), "{}", mail.text);
    assert_eq!(mail.field("Auto-Submitted").as_deref(), Some("auto-generated"));

    // Who does not want mails about keys gets none, but is told of a leak; so are operators.
    ann.post("/portal/account/notifications", &[("topic", "ends"), ("topic", "team")]).await.leads_to();
    ann.key(&application, "quiet").await;
    let leaked = place.calls.change("/v1/keys/leaked", Some(&json!({ "keys": [secret] }))).await.unwrap();
    assert_eq!(leaked.status, 200, "{}", leaked.body);
    let subject = "Key laptop was reported as leaked and is revoked";
    wait::until("the mails about the leak", SOON, async || of(subject).len() == 2).await.unwrap();
    let to: BTreeSet<_> = of(subject).into_iter().flat_map(|mail| mail.to).collect();
    assert_eq!(to.into_iter().collect::<Vec<_>>(), ["mailed@example.com", "ops@example.com"]);
    assert!(of(subject).iter().all(|mail| !mail.text.contains(&secret[21..64])), "the secret is mailed");
    assert!(of("Key quiet was issued").is_empty());

    // An invitation is told, its link is not.
    let page = ann.post(&format!("{}/invitations", team_of(&ann).await), &[("email", "bob@example.com"), ("role", "developer")]).await;
    let link = page.between("data-origin>", "<");
    let code = link.split_once('#').unwrap().1;
    let invited = async || server.mails().into_iter().find(|mail| mail.to == ["bob@example.com"]);
    wait::until("the invitation", SOON, async || invited().await.is_some()).await.unwrap();
    let text = invited().await.unwrap();
    assert!(text.body().unwrap().contains("Who: mailed@example.com") && !text.text.contains(code), "{}", text.text);
    let dump = place.sql.ask("causeway", "select data::text from notification").await.unwrap().join("\n");
    assert!(!dump.contains(code) && !dump.contains(&secret[21..64]), "the outbox holds what lets somebody in");
    assert_eq!(server.in_clear(), "");
}

/// Nothing but the wish for TLS is said before TLS, and nothing at all to a server that has none.
#[tokio::test(flavor = "multi_thread")]
async fn no_mail_is_sent_in_clear() {
    let dev = Dev::start().await.unwrap();
    let (server, plain) = (mail_server(&dev, Security::StartTls).await, mail_server(&dev, Security::Never).await);
    let notifications = with_mail(&dev, "starttls", plain.port());
    let mut place = Place::start(dev, &notifications).await;
    let ann = member(&place.dev, "clear@example.com", "Clear").await;
    let application = ann.application("Shop").await;
    ann.key(&application, "laptop").await;
    wait::until("a try without TLS", SOON, async || place.count("kind = 'key.issued' and fault is not null").await == 1).await.unwrap();

    let (from, to) = (format!("port: {}", plain.port()), format!("port: {}", server.port()));
    place.again_with(|text| text.replace(&from, &to)).await;
    let is_hers = |mail: &smtp::Mail| mail.to == ["clear@example.com"];
    wait::until("the mail", AFTER_RETRIES, async || server.mails().iter().any(is_hers)).await.unwrap();

    for said in [plain.in_clear(), server.in_clear()] {
        let words: BTreeSet<_> = said.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(words.iter().all(|word| ["EHLO", "STARTTLS", "QUIT"].contains(word)) && !said.contains("clear@"), "{said}");
    }
    assert!(plain.conversations() > 0 && plain.mails().is_empty());
}
