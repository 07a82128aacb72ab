//! Promises about accounts: signing up, being let in, being shut out.

mod invitation;
mod key_decision;
mod limits;
mod second_factor;
mod session;
mod team;
mod token;

use futures_util::future::join_all;
use model::{id::AccountId, portal::SignUpDoc};

use super::fixture::{Database, document, operator};
use crate::{
    account::{self, AccountInfo, AccountState, NewAccount, PENDING_MAX, Team, team as members},
    actor::{Actor, ActorKind},
    consumer,
    error::StoreError,
    page::PageRequest,
    tenant::{self, ManagedBy},
};

/// Not a real one: the store compares nothing.
const PASSWORD: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaA";

/// How often a race is run: each time two statements meet in another order.
const RACES: usize = 20;

fn person(email: &str) -> NewAccount<'_> {
    NewAccount { email, name: "Ann", password: PASSWORD, pepper_version: 3, organization: "Ann & Co" }
}

const fn team(consumer: &str) -> Team<'_> {
    Team { tenant: "acme", consumer }
}

fn visitor() -> Actor {
    Actor { kind: ActorKind::System, name: "sign-up".to_owned() }
}

/// True for a conflict about this rule.
fn conflicts<T: std::fmt::Debug>(result: &Result<T, StoreError>, rule: &str) -> bool {
    matches!(result, Err(StoreError::Conflict { constraint, .. }) if constraint == rule)
}

impl Database {
    /// A database with a tenant that has the portal.
    async fn with_portal() -> Self {
        let database = Self::new().await;
        database.apply(&document("tenants: [{ name: acme, hosts: [api.example.com], portal: { sign_up: open, title: Acme } }]")).await;
        database
    }

    /// Somebody who has signed up, with a team of the same name.
    async fn member(&self, name: &str) -> AccountInfo {
        let email = format!("{name}@example.com");
        account::sign_up(&self.primary, person(&email), team(name), &visitor()).await.expect("signed up").item
    }

    async fn waiting(&self, name: &str) -> AccountId {
        account::ask(&self.primary, person(&format!("{name}@example.com"))).await.expect("noted").id
    }

    /// How much there is that a sign-up writes.
    async fn written(&self) -> i64 {
        self.number(
            "select (select count(*) from account) + (select count(*) from consumer) + (select count(*) from team_member) + (select count(*) from control_log)",
        )
        .await
    }
}

#[tokio::test]
async fn a_sign_up_makes_the_account_its_consumer_and_the_ownership_in_one_revision() {
    let database = Database::with_portal().await;
    let before = database.number("select rev from control_head where lane = 'authority'").await;

    let written = account::sign_up(&database.primary, person("ann@example.com"), team("ann-co"), &visitor()).await.expect("signed up");
    let (made, after) = (written.item, written.revisions.authority);
    let sign_in = account::by_email(&database.primary, "ann@example.com").await.expect("an answer").expect("it is there");
    let teams = members::of_account(&database.primary, made.id).await.expect("a list");
    let made_for = consumer::by_name(&database.primary, "ann-co").await.expect("it is there");
    let logged = database.texts("select kind || ' ' || op || ' by ' || actor from control_log where lane = 'authority'").await;
    let stranger = account::by_email(&database.primary, "bob@example.com").await.expect("an answer");

    assert_eq!((made.state, made.role.as_deref(), made.organization.as_str()), (AccountState::Active, None, "Ann & Co"));
    assert_eq!((sign_in.account.id, sign_in.password.as_deref(), sign_in.pepper_version), (made.id, Some(PASSWORD), 3));
    assert_eq!((teams.len(), teams[0].consumer, teams[0].role, teams[0].tenant.as_str()), (1, made_for.id, members::TeamRole::Owner, "acme"));
    assert_eq!((made_for.managed_by, i64::try_from(after).expect("small")), (ManagedBy::Api, before + 1));
    assert_eq!(logged, ["consumer put by system:sign-up"]);
    assert!(stranger.is_none());
    for shown in [format!("{sign_in:?}"), format!("{:?}", person("ann@example.com"))] {
        assert!(!shown.contains("argon2id"), "{shown}");
    }
}

#[tokio::test]
async fn a_sign_up_that_is_refused_leaves_nothing_behind() {
    let database = Database::with_portal().await;
    database.member("ann").await;
    let before = database.written().await;
    let sign_up = async |new, team| account::sign_up(&database.primary, new, team, &visitor()).await;

    let taken_email = sign_up(person("ann@example.com"), team("another")).await;
    let taken_name = sign_up(person("bob@example.com"), team("ann")).await;
    let no_tenant = sign_up(person("bob@example.com"), Team { tenant: "nobody", consumer: "bob" }).await;

    assert!(conflicts(&taken_email, "account_email_unique"), "{taken_email:?}");
    assert!(conflicts(&taken_name, "consumer_name_unique"), "{taken_name:?}");
    assert!(matches!(no_tenant, Err(StoreError::NotFound { what: "tenant", .. })), "{no_tenant:?}");
    let plain = NewAccount { password: "correct horse", ..person("bob@example.com") };
    for odd in [person("Bob@example.com"), person("b@"), NewAccount { name: "", ..person("bob@example.com") }, plain] {
        let result = sign_up(odd, team("bob")).await;
        assert!(matches!(result, Err(StoreError::Invalid { .. })), "{result:?}");
    }
    assert_eq!(database.written().await, before);
}

#[tokio::test]
async fn who_waits_is_let_in_or_forgotten_and_only_once() {
    let database = Database::with_portal().await;
    let [let_in, forgotten] = [database.waiting("ann").await, database.waiting("bob").await];
    let primary = &database.primary;
    assert_eq!(account::get(primary, let_in).await.expect("it is there").state, AccountState::Pending);
    assert!(members::of_account(primary, let_in).await.expect("a list").is_empty());
    let sign_in = account::by_email(primary, "ann@example.com").await.expect("an answer").expect("who waits is found, so that they can be told");
    assert_eq!(sign_in.account.state, AccountState::Pending);
    assert!(conflicts(&account::ask(primary, person("ann@example.com")).await, "account_email_unique"));
    for result in [account::disable(primary, let_in, &operator()).await, account::enable(primary, let_in, &operator()).await] {
        assert!(conflicts(&result, "account_state"), "{result:?}");
    }

    let approved = account::approve(primary, let_in, team("ann-co"), &operator()).await.expect("let in").item;
    account::refuse(primary, forgotten, &operator()).await.expect("forgotten");

    assert_eq!((approved.state, members::of_account(primary, let_in).await.expect("a list").len()), (AccountState::Active, 1));
    assert_eq!(database.texts("select decided_by from account").await, ["operator:ann"]);
    assert!(conflicts(&account::approve(primary, let_in, team("again"), &operator()).await, "account_state"));
    assert!(conflicts(&account::refuse(primary, let_in, &operator()).await, "account_state"));
    let (nobody, gone) = (account::get(primary, forgotten).await, account::approve(primary, forgotten, team("bob"), &operator()).await);
    assert!(matches!((&nobody, &gone), (Err(StoreError::NotFound { .. }), Err(StoreError::NotFound { .. }))), "{nobody:?} {gone:?}");
    assert_eq!(database.number("select count(*) from consumer").await, 1);
}

#[tokio::test]
async fn an_approval_whose_team_is_taken_leaves_the_account_waiting() {
    let database = Database::with_portal().await;
    database.member("ann").await;
    let waiting = database.waiting("bob").await;

    let refused = account::approve(&database.primary, waiting, team("ann"), &operator()).await;

    assert!(conflicts(&refused, "consumer_name_unique"), "{refused:?}");
    assert_eq!(account::get(&database.primary, waiting).await.expect("it is there").state, AccountState::Pending);
}

/// Two who decide at once: one decision counts, and the team of the other is not made.
#[tokio::test]
async fn of_two_decisions_at_once_one_counts() {
    let database = Database::with_portal().await;
    for race in 0..RACES {
        let (id, by) = (database.waiting(&format!("p{race}")).await, operator());
        let names = [format!("t{race}-a"), format!("t{race}-b")];

        let approvals = join_all(names.iter().map(|name| account::approve(&database.primary, id, team(name), &by)));
        let (approvals, refusal) = futures_util::future::join(approvals, account::refuse(&database.primary, id, &by)).await;

        let won = approvals.iter().filter(|result| result.is_ok()).count() + usize::from(refusal.is_ok());
        let teams = database.number(format!("select count(*) from consumer where name like 't{race}-%'")).await;
        assert_eq!((won, teams), (1, i64::from(refusal.is_err())), "race {race}: {approvals:?} {refusal:?}");
    }
}

#[tokio::test]
async fn no_more_wait_than_a_person_can_read_however_many_ask_at_once() {
    let database = Database::with_portal().await;
    let before = PENDING_MAX - 2;
    database
        .run(format!(
            "insert into account (account_id, email, name, state, organization) select gen_random_uuid(), 'p' || n || '@example.com', 'P', 'pending', '' from generate_series(1, {before}) as n"
        ))
        .await;
    let emails: Vec<String> = (0..8).map(|n| format!("late{n}@example.com")).collect();

    let results = join_all(emails.iter().map(|email| account::ask(&database.primary, person(email)))).await;

    let refused = results.iter().filter(|result| conflicts(result, "account_pending")).count();
    assert_eq!((results.iter().filter(|result| result.is_ok()).count(), refused), (2, 6), "{results:?}");
    database.member("ann").await;
}

#[tokio::test]
async fn accounts_are_listed_by_state_newest_first() {
    let database = Database::with_portal().await;
    let ann = database.member("ann").await.id;
    let bob = database.waiting("bob").await;
    let eve = database.member("eve").await.id;
    account::disable(&database.primary, eve, &operator()).await.expect("shut out");

    let mut seen = Vec::new();
    let mut page = PageRequest { limit: 2, cursor: None };
    loop {
        let found = account::list(&database.primary, None, &page).await.expect("a page");
        seen.extend(found.items.into_iter().map(|account| account.id));
        let Some(cursor) = found.next_cursor else { break };
        page.cursor = Some(cursor);
    }

    assert_eq!(seen, [eve, bob, ann]);
    for (state, expected) in [(AccountState::Active, ann), (AccountState::Pending, bob), (AccountState::Disabled, eve)] {
        let found = account::list(&database.primary, Some(state), &PageRequest::default()).await.expect("a page").items;
        assert_eq!(found.iter().map(|account| account.id).collect::<Vec<_>>(), [expected], "{state:?}");
        assert_eq!(AccountState::parse(state.as_str()), Some(state));
    }
}

#[tokio::test]
async fn the_portal_is_that_of_the_tenant_whose_document_has_it() {
    let database = Database::new().await;
    let plain = "{ name: other, hosts: [other.example.com] }";
    database.apply(&document(&format!("tenants: [{plain}]"))).await;
    assert!(tenant::portal(&database.primary).await.expect("an answer").is_none());

    database.apply(&document(&format!("tenants: [{plain}, {{ name: acme, hosts: [], portal: {{ sign_up: approval, scopes: [read] }} }}]"))).await;
    let (name, portal) = tenant::portal(&database.primary).await.expect("an answer").expect("there is one");
    database.apply(&document(&format!("tenants: [{plain}, {{ name: acme, hosts: [] }}]"))).await;
    let after = tenant::portal(&database.primary).await.expect("an answer");

    assert_eq!((name.as_str(), portal.sign_up, portal.scopes, portal.plan), ("acme", SignUpDoc::Approval, vec!["read".to_owned()], None));
    assert!(after.is_none());
}
