//! Promises of the outbox: what is told is what was committed, each claim is one sender's, and nobody is flooded.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use model::{
    id::{AccountId, ApplicationId, ConsumerId},
    key::Purpose,
    time::UtcMicros,
};

use super::fixture::{Database, LATER, document, file, issued, operator};
use crate::{
    account::{
        self, NewAccount, Team,
        invitation::{self, Accepting, NewInvitation},
        team::TeamRole,
    },
    application::{self, NewApplication},
    consumer,
    error::StoreError,
    key::{self, NewKey, RevokedReason, life},
    notification::{
        self, Kind, NotificationState,
        outbox::{self, Channel, Claimed, Outcome, Target},
        webhook,
        wish::{self, Topic},
    },
    page::PageRequest,
};

const PASSWORD: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaA";

/// An hour before invitations end.
const NOW: UtcMicros = UtcMicros(LATER.0 - 3_600_000_000);

struct Place {
    database: Database,
    owner: AccountId,
    consumer: ConsumerId,
    application: ApplicationId,
}

fn person(email: &str) -> NewAccount<'_> {
    NewAccount { email, name: "Ann", password: PASSWORD, pepper_version: 3, organization: "Ann & Co" }
}

impl Place {
    /// A team with an owner, an application and a webhook.
    async fn new() -> Self {
        let database = Database::new().await;
        database.apply(&document("tenants: [{ name: acme, hosts: [api.example.com], portal: { sign_up: open, title: Acme } }]")).await;
        let team = Team { tenant: "acme", consumer: "ann" };
        let owner = account::sign_up(&database.primary, person("ann@example.com"), team, &operator()).await.expect("signed up").item.id;
        let consumer = consumer::by_name(&database.primary, "ann").await.expect("it is there").id;
        let new = NewApplication { name: "shop", consumer, plan: None, scopes: &[], at_most: None };
        let application = application::create(&database.primary, new, &operator()).await.expect("made").item.id;
        webhook::put(&database.primary, consumer, "example.com", b"sealed", 1, &operator()).await.expect("set");
        let told = database.texts("delete from notification returning kind || ' ' || channel").await;
        assert_eq!(told, ["webhook.set mail"], "of a webhook people alone are told");
        Self { database, owner, consumer, application }
    }

    async fn key(&self) -> key::KeyInfo {
        let issued = issued(Purpose::Live);
        let made = key::create(&self.database.primary, NewKey::of(&issued, "laptop", self.application, LATER), &operator()).await.expect("made");
        match made {
            key::Created::New(written) => written.item,
            key::Created::Before(info) => info,
        }
    }

    /// What was told, as `kind channel`, oldest first.
    async fn told(&self) -> Vec<String> {
        self.database.texts("select kind || ' ' || channel from notification order by created_at, kind, channel").await
    }

    async fn claim(&self, channels: &[Channel], most: u32) -> Vec<Claimed> {
        outbox::claim(&self.database.primary, channels, most).await.expect("claimed")
    }
}

#[tokio::test]
async fn each_act_of_a_keys_life_is_told_to_the_people_and_the_webhook_of_its_team() {
    let place = Place::new().await;
    let primary = &place.database.primary;

    let key = place.key().await;
    let next = issued(Purpose::Live);
    let roll = life::Roll { issued: &next, overlap_until: None, while_rolling: life::WhileRolling::Refuse, now: NOW };
    // The secret is another key's, which does not matter to what is told.
    life::roll(primary, &key.id, roll, &operator()).await.expect("rolled");
    key::revoke(primary, &key.id, RevokedReason::Leaked, &file()).await.expect("revoked");
    key::revoke(primary, &key.id, RevokedReason::Asked, &file()).await.expect("it is revoked already");

    let told: BTreeSet<String> = place.told().await.into_iter().collect();
    let expected = [
        "key.issued mail",
        "key.issued webhook",
        "key.leaked mail",
        "key.leaked operators",
        "key.leaked webhook",
        "key.rolled mail",
        "key.rolled webhook",
    ];
    assert_eq!(told.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(place.told().await.len(), expected.len(), "the second revocation tells nothing");
    let text = place.database.texts("select data::text from notification where kind = 'key.leaked' and channel = 'mail'").await.concat();
    for part in [key.id.to_string().as_str(), "laptop", next.last_four(), "\"name\": \"apply\""] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    for never in [issued(Purpose::Live).text.expose_secret(), next.text.expose_secret()] {
        assert!(!text.contains(never.get(21..64).expect("a secret")), "a secret is told");
    }
}

/// The outbox is written in the transaction of the act.
#[tokio::test]
async fn act_that_is_taken_back_tells_nothing_and_an_outbox_that_fails_takes_the_act_back() {
    let place = Place::new().await;
    let primary = &place.database.primary;
    let issued = issued(Purpose::Live);
    let refused = NewKey { at_most: Some(0), ..NewKey::of(&issued, "k", place.application, LATER) };

    key::create(primary, refused, &operator()).await.expect_err("it has too many");
    assert!(place.told().await.is_empty(), "{:?}", place.told().await);

    place.database.run("alter table notification add constraint no_more check (kind <> 'key.issued')").await;
    key::create(primary, NewKey::of(&issued, "k", place.application, LATER), &operator()).await.expect_err("the outbox refuses");
    assert_eq!(place.database.number("select count(*) from api_key").await, 0, "the act went on without its notification");
}

#[tokio::test]
async fn two_senders_never_have_the_same_claim_and_each_receiver_has_two_at_once() {
    let place = Place::new().await;
    for _ in 0..6 {
        place.key().await;
    }

    let rounds = join_all((0..8).map(|_| place.claim(&[Channel::Webhook, Channel::Mail], 16))).await;
    let claimed: Vec<_> = rounds.into_iter().flatten().collect();

    let ids: BTreeSet<_> = claimed.iter().map(|claimed| claimed.claim.id).collect();
    assert_eq!(ids.len(), claimed.len(), "one was claimed twice");
    let of = |is: fn(&Target) -> bool| claimed.iter().filter(|claimed| is(&claimed.target)).count();
    // Who looks at the same instant sees no claim of the others, so a few more may be under way; never all six.
    assert!((2..6).contains(&of(|target| matches!(target, Target::Webhook { .. }))), "{claimed:?}");
    assert!(place.claim(&[Channel::Webhook], 16).await.is_empty(), "two are under way");
}

#[tokio::test]
async fn claim_of_a_sender_that_died_comes_back_under_the_same_id_and_its_late_word_counts_nothing() {
    let place = Place::new().await;
    place.key().await;
    let first = place.claim(&[Channel::Webhook], 1).await.remove(0);
    place.database.run("update notification set leased_until = now() - interval '1 second' where leased_until is not null").await;

    let second = place.claim(&[Channel::Webhook], 1).await.remove(0);
    let late = outbox::settle(&place.database.primary, first.claim, Outcome::Failed("late".to_owned())).await.expect("an answer");
    let settled = outbox::settle(&place.database.primary, second.claim, Outcome::Delivered).await.expect("settled");
    let again = outbox::settle(&place.database.primary, second.claim, Outcome::Delivered).await.expect("an answer");

    assert_eq!((first.claim.id, first.claim.attempt, second.claim.attempt), (second.claim.id, 1, 2));
    assert_eq!((late, settled, again), (None, Some(NotificationState::Delivered), None));
}

#[tokio::test]
async fn retries_end_after_a_day_and_an_operator_can_ask_for_another() {
    let place = Place::new().await;
    let primary = &place.database.primary;
    place.key().await;
    let again = || Outcome::Again { after: 3_600.0, fault: "the receiver answered 500".to_owned() };
    let claimed = place.claim(&[Channel::Webhook], 1).await.remove(0);

    let put_off = outbox::settle(primary, claimed.claim, again()).await.expect("settled");
    assert!(place.claim(&[Channel::Webhook], 1).await.is_empty(), "its time has not come");
    place.database.run("update notification set due_at = now(), give_up_at = now() + interval '59 minutes'").await;
    let last = place.claim(&[Channel::Webhook], 1).await.remove(0);
    let given_up = outbox::settle(primary, last.claim, again()).await.expect("settled");

    assert_eq!((put_off, given_up), (Some(NotificationState::Queued), Some(NotificationState::Failed)));
    let failed = notification::list(primary, Some(NotificationState::Failed), &PageRequest::default()).await.expect("a list").items;
    assert_eq!((failed.len(), failed[0].attempts, failed[0].fault.as_deref()), (1, 2, Some("the receiver answered 500")));
    notification::retry(primary, claimed.claim.id).await.expect("it waits again");
    let twice = notification::retry(primary, claimed.claim.id).await;
    assert!(matches!(&twice, Err(StoreError::Conflict { constraint, .. }) if constraint == "notification_state"), "{twice:?}");
    assert_eq!(place.claim(&[Channel::Webhook], 1).await.remove(0).claim.id, claimed.claim.id);
}

#[tokio::test]
async fn receiver_that_is_gone_switches_off_its_own_webhook_and_no_later_one() {
    let place = Place::new().await;
    let primary = &place.database.primary;
    place.key().await;
    place.key().await;
    let [first, second] = <[Claimed; 2]>::try_from(place.claim(&[Channel::Webhook], 2).await).expect("two");
    let is_on = async || webhook::find(primary, place.consumer).await.expect("an answer").expect("it is there").is_on;

    webhook::put(primary, place.consumer, "example.com", b"another", 1, &operator()).await.expect("set");
    outbox::gone(primary, first.claim, place.consumer, b"sealed").await.expect("settled");
    assert!(is_on().await, "the new one was switched off by the old one's receiver");
    outbox::gone(primary, second.claim, place.consumer, b"another").await.expect("settled");
    assert!(!is_on().await);
    place.key().await;

    assert_eq!(place.database.number("select count(*) from notification where channel = 'webhook' and state = 'queued'").await, 0);
    assert!(!webhook::test(primary, place.consumer).await.expect("an answer"), "it is off");
}

#[tokio::test]
async fn mails_that_somebody_refused_are_not_sent_and_leaks_cannot_be_refused() {
    let place = Place::new().await;
    let primary = &place.database.primary;
    wish::refuse(primary, place.owner, &Topic::ALL).await.expect("noted");

    let key = place.key().await;
    key::revoke(primary, &key.id, RevokedReason::Leaked, &operator()).await.expect("revoked");

    let mails: Vec<_> = place.told().await.into_iter().filter(|told| told.ends_with("mail")).collect();
    assert_eq!(mails, ["key.leaked mail"]);
    wish::refuse(primary, place.owner, &[Topic::Team]).await.expect("noted");
    assert_eq!(wish::refused(primary, place.owner).await.expect("a list"), [Topic::Team]);
}

#[tokio::test]
async fn somebody_who_is_shut_out_after_the_act_gets_no_mail() {
    let place = Place::new().await;
    place.key().await;
    account::disable(&place.database.primary, place.owner, &operator()).await.expect("disabled");

    let claimed = place.claim(&[Channel::Mail], 4).await;

    assert!(matches!(claimed[..], [Claimed { target: Target::Nobody, .. }]), "{claimed:?}");
}

#[tokio::test]
async fn stranger_is_not_flooded_with_invitations() {
    let place = Place::new().await;
    let primary = &place.database.primary;
    for number in 0..6 {
        let digest = [number; 32];
        let team = Some((place.consumer, TeamRole::Viewer));
        let new = NewInvitation { digest: &digest, email: "bob@example.com", team, role: None, expires_at: LATER };
        invitation::create(primary, new, &operator()).await.expect("invited");
    }

    assert_eq!(place.told().await, ["invitation.made mail"; 3]);
    let text = place.database.texts("select data::text from notification").await.concat();
    assert!(text.contains("\"name\": \"ann\"") && !text.contains("05050505"), "{text}");
    let bob = Accepting::New { name: "Bob", password: PASSWORD, pepper_version: 3 };
    invitation::accept(primary, &[5; 32], NOW, bob).await.expect("accepted");
    assert!(place.told().await.contains(&"member.joined mail".to_owned()));
}

#[tokio::test]
async fn invitation_that_changes_nothing_or_is_withdrawn_tells_nothing_more() {
    let place = Place::new().await;
    let primary = &place.database.primary;
    let invite = async |number: u8, email| {
        let (digest, team) = ([number; 32], Some((place.consumer, TeamRole::Viewer)));
        let new = NewInvitation { digest: &digest, email, team, role: None, expires_at: LATER };
        invitation::create(primary, new, &operator()).await.expect("invited").id
    };
    invite(1, "ann@example.com").await;
    let withdrawn = invite(2, "bob@example.com").await;
    invite(3, "eve@example.com").await;

    invitation::accept(primary, &[1; 32], NOW, Accepting::Known(place.owner)).await.expect("accepted");
    invitation::withdraw(primary, place.consumer, withdrawn).await.expect("withdrawn");

    assert_eq!(place.told().await, ["invitation.made mail"; 3], "ann belonged to the team already");
    let waiting = "select address from notification where state = 'queued' order by address";
    assert_eq!(place.database.texts(waiting).await, ["ann@example.com", "eve@example.com"]);
    let again = invitation::withdraw(primary, place.consumer, withdrawn).await;
    assert!(matches!(&again, Err(StoreError::NotFound { what: "invitation", .. })), "{again:?}");
}

/// Without a mail server nobody takes mails away.
#[tokio::test]
async fn mails_that_nobody_sends_keep_no_webhook_from_being_called() {
    let place = Place::new().await;
    let waiting = "insert into notification (kind, channel, consumer_id, account_id, data) select 'key.issued', 'mail', consumer_id, account_id, '{}' \
        from team_member, generate_series(1, 500)";
    place.database.run(waiting).await;

    place.key().await;

    let told = place.database.texts("select kind || ' ' || channel from notification where data <> '{}'").await;
    assert_eq!(told, ["key.issued webhook"], "the mails have no place, the webhook has");
}

#[tokio::test]
async fn requests_of_strangers_reach_operators_and_do_not_flood_them() {
    let place = Place::new().await;
    let primary = &place.database.primary;
    let ask = async |number: u32| account::ask(primary, person(&format!("p{number}@example.com"))).await.expect("noted");
    for number in 0..5 {
        ask(number).await;
    }
    assert_eq!(place.told().await, ["account.waits operators"]);
    let claimed = place.claim(&[Channel::Operators], 4).await.remove(0);

    let addresses = ["a@example.com".to_owned(), "b@example.com".to_owned()];
    outbox::deal(primary, claimed.claim, &addresses, true).await.expect("dealt out");
    outbox::deal(primary, claimed.claim, &addresses, true).await.expect("a second time changes nothing");
    ask(5).await;

    let told = place.told().await;
    let of = |name: &str| told.iter().filter(|told| **told == format!("account.waits {name}")).count();
    assert_eq!((of("mail"), of("operators_webhook"), of("operators")), (2, 1, 2));
    assert!(place.claim(&[Channel::Operators], 4).await.is_empty(), "the next waits for ten minutes");
    let mails = place.claim(&[Channel::Mail], 4).await;
    assert!(mails.iter().all(|mail| matches!(&mail.target, Target::Mail(to) if addresses.contains(to))), "{mails:?}");
}

#[tokio::test]
async fn decision_about_a_request_is_told_to_whoever_asked() {
    let place = Place::new().await;
    let primary = &place.database.primary;
    let waits = account::ask(primary, person("bob@example.com")).await.expect("noted").id;
    let refused = account::ask(primary, person("eve@example.com")).await.expect("noted").id;

    account::approve(primary, waits, Team { tenant: "acme", consumer: "bob" }, &operator()).await.expect("approved");
    account::refuse(primary, refused, &operator()).await.expect("refused");

    let mails = place.claim(&[Channel::Mail], 4).await;
    let mut to: Vec<_> = mails.iter().map(|mail| (mail.kind.as_str(), format!("{:?}", mail.target))).collect();
    to.sort();
    assert_eq!(to, [("account.approved", "Mail(\"bob@example.com\")".to_owned()), ("account.refused", "Mail(\"eve@example.com\")".to_owned())]);
}

#[tokio::test]
async fn end_of_a_key_is_told_at_each_step_once_and_anew_when_it_is_moved() {
    let place = Place::new().await;
    let primary = &place.database.primary;
    let key = place.key().await;
    let lasts = async |what: &str| {
        let id = key.id;
        place
            .database
            .run(format!("update api_key set created_at = now() - interval '60 days', expires_at = now() + {what} where key_id = '{id}'"))
            .await;
        place.database.run("delete from notification").await;
        let rounds = join_all((0..4).map(|_| notification::remind(primary))).await;
        assert_eq!(rounds.into_iter().map(|told| told.expect("a round")).sum::<usize>() + notification::remind(primary).await.expect("a round"), {
            usize::from(!place.told().await.is_empty())
        });
        let days = place.database.texts("select kind || ' ' || coalesce(data ->> 'days', '-') from notification where channel = 'mail'").await;
        days.concat()
    };

    assert_eq!(lasts("interval '15 days'").await, "");
    assert_eq!(lasts("interval '13 days 23 hours'").await, "key.ends 14");
    assert_eq!(lasts("interval '2 days'").await, "key.ends 3");
    assert_eq!(lasts("interval '1 hour'").await, "key.ends 1");
    assert_eq!(lasts("interval '-1 hour'").await, "key.ended -");
    assert_eq!(lasts("interval '-25 hours'").await, "", "it has been dead for long");
    place.database.run(format!("update api_key set created_at = now(), expires_at = now() + interval '2 days' where key_id = '{}'", key.id)).await;
    assert_eq!(notification::remind(primary).await.expect("a round"), 0, "it was made for two days: its maker knows");
    assert_eq!(Kind::parse("key.ends"), Some(Kind::KeyEnds));
}

#[tokio::test]
async fn what_no_node_sends_is_given_up_after_a_day_and_forgotten_after_a_week() {
    let place = Place::new().await;
    let primary = &place.database.primary;
    place.key().await;
    outbox::tidy(primary).await.expect("tidied");
    let measured = outbox::measure(primary).await.expect("measured");
    assert!(measured.iter().all(|waiting| waiting.queued == 1 && waiting.failed == 0 && waiting.oldest_seconds >= 0.0), "{measured:?}");

    place.database.run("update notification set give_up_at = now() - interval '1 second'").await;
    outbox::tidy(primary).await.expect("tidied");
    let measured = outbox::measure(primary).await.expect("measured");
    assert!(measured.iter().all(|waiting| waiting.queued == 0 && waiting.failed == 1), "{measured:?}");
    place.database.run("update notification set ended_at = now() - interval '8 days'").await;
    outbox::tidy(primary).await.expect("tidied");

    assert!(place.told().await.is_empty(), "{:?}", place.told().await);
}

#[tokio::test]
async fn who_was_taken_out_of_a_team_hears_no_more_of_it() {
    let place = Place::new().await;
    let primary = &place.database.primary;
    let team = Some((place.consumer, TeamRole::Owner));
    let new = NewInvitation { digest: &[7; 32], email: "bob@example.com", team, role: None, expires_at: LATER };
    invitation::create(primary, new, &operator()).await.expect("invited");
    let bob = Accepting::New { name: "Bob", password: PASSWORD, pepper_version: 3 };
    invitation::accept(primary, &[7; 32], NOW, bob).await.expect("accepted");
    place.database.run("delete from notification").await;

    place.key().await;
    account::team::remove(primary, place.consumer, place.owner).await.expect("removed");
    let mails = place.claim(&[Channel::Mail], 4).await;

    let to: BTreeSet<_> = mails.iter().map(|mail| format!("{:?}", mail.target)).collect();
    assert_eq!(to.into_iter().collect::<Vec<_>>(), ["Mail(\"bob@example.com\")", "Nobody"]);
}
