//! Second factors, sign-ins that wait for them, and links to another password: what counts once counts once.

use futures_util::future::join_all;
use model::{id::AccountId, time::UtcMicros};

use super::{PASSWORD, RACES, conflicts};
use crate::{
    account::{
        self, NewAccount,
        identity::{self, Identity, NewIdentity},
        invitation::{self, Accepting, NewInvitation},
        reset,
        second_factor::{self, NewSecondFactor, Shown},
        session::{self, NewSession, Proof},
        sign_in::{self, TRIES_MAX},
        team::{self, TeamRole},
    },
    error::StoreError,
    tests::fixture::{Database, operator},
};

const RECOVERY: [[u8; 32]; 2] = [[1; 32], [2; 32]];

/// 2100-01-01, in seconds: the clock of the database must not matter.
const fn second(n: i64) -> UtcMicros {
    UtcMicros((4_102_444_800 + n) * 1_000_000)
}

async fn enable(database: &Database, account: AccountId) -> Result<(), StoreError> {
    let new = NewSecondFactor { sealed: &[7; 56], pepper_version: 3, step: 100, recovery_codes: &RECOVERY };
    second_factor::enable(&database.primary, account, new).await
}

async fn half_open(database: &Database, n: u8, account: AccountId) {
    sign_in::begin(&database.primary, &[n; 32], account, second(0), second(300)).await.expect("it begins");
}

async fn finish(database: &Database, n: u8, account: AccountId, shown: Shown<'_>, at: i64) -> Result<bool, StoreError> {
    let new = NewSession { digest: &[n + 100; 32], account, proof: Proof::SecondFactor, at: second(at), expires_at: second(at + 3600) };
    sign_in::finish(&database.primary, &[n; 32], shown, new).await
}

async fn number_of(database: &Database, table: &str) -> i64 {
    database.number(&format!("select count(*) from {table}")).await
}

#[tokio::test]
async fn a_second_factor_ends_sessions_and_is_not_replaced() {
    let database = Database::with_portal().await;
    let ann = database.member("ann").await.id;
    let new = NewSession { digest: &[9; 32], account: ann, proof: Proof::Password, at: second(0), expires_at: second(3600) };
    session::begin(&database.primary, new).await.expect("it begins");

    enable(&database, ann).await.expect("it is set");
    let again = enable(&database, ann).await;
    let found = second_factor::find(&database.primary, ann).await.expect("an answer").expect("it is there");
    let shown = account::get(&database.primary, ann).await.expect("it is there");

    assert!(conflicts(&again, "second_factor_set"), "{again:?}");
    assert_eq!((found.sealed, found.pepper_version, found.last_step, found.recovery_codes), (vec![7; 56], 3, 100, 2));
    assert_eq!((shown.has_second_factor, number_of(&database, "account_session").await), (true, 0));
}

#[tokio::test]
async fn a_code_of_a_step_and_each_recovery_code_count_once_however_many_show_them() {
    let database = Database::with_portal().await;
    let ann = database.member("ann").await.id;
    enable(&database, ann).await.expect("it is set");
    for race in 0..RACES {
        let step = 101 + u64::try_from(race).expect("small");
        for n in 0..4 {
            half_open(&database, n, ann).await;
        }

        let done = join_all((0..4).map(|n| finish(&database, n, ann, Shown::Step(step), 1))).await;

        assert_eq!(done.iter().filter(|done| matches!(done, Ok(true))).count(), 1, "race {race}: {done:?}");
        assert!(done.iter().all(Result::is_ok), "race {race}: {done:?}");
        session::end_all(&database.primary, ann).await.expect("they end");
    }
    for n in 0..4 {
        half_open(&database, n, ann).await;
    }
    let done = join_all((0..4).map(|n| finish(&database, n, ann, Shown::RecoveryCode(&RECOVERY[0]), 1))).await;
    assert_eq!(done.iter().filter(|done| matches!(done, Ok(true))).count(), 1, "{done:?}");
    let late = [Shown::Step(100), Shown::Step(101), Shown::RecoveryCode(&RECOVERY[0]), Shown::RecoveryCode(&[3; 32])];
    half_open(&database, 50, ann).await;
    for shown in late {
        assert!(!finish(&database, 50, ann, shown, 1).await.expect("an answer"), "{shown:?}");
    }
    assert!(sign_in::is_open(&database.primary, &[50; 32], second(1)).await.expect("an answer"), "what failed has ended nothing");
    assert!(finish(&database, 50, ann, Shown::RecoveryCode(&RECOVERY[1]), 1).await.expect("an answer"));
    assert!(!finish(&database, 50, ann, Shown::Step(500), 1).await.expect("an answer"), "a sign-in ends once");
}

#[tokio::test]
async fn a_sign_in_that_waits_has_few_tries_and_little_time() {
    let database = Database::with_portal().await;
    let (ann, bob) = (database.member("ann").await.id, database.member("bob").await.id);
    enable(&database, ann).await.expect("it is set");
    half_open(&database, 1, ann).await;

    let tries = join_all((0..TRIES_MAX * 2).map(|_| sign_in::try_once(&database.primary, &[1; 32], second(1)))).await;

    let counted = tries.iter().filter(|tried| matches!(tried, Ok(Some(account)) if *account == ann)).count();
    assert_eq!(i32::try_from(counted).expect("small"), TRIES_MAX, "{tries:?}");
    assert!(!sign_in::is_open(&database.primary, &[1; 32], second(1)).await.expect("an answer"));
    half_open(&database, 2, ann).await;
    assert_eq!(sign_in::try_once(&database.primary, &[2; 32], second(300)).await.expect("an answer"), None, "five minutes are over");
    assert!(!finish(&database, 2, ann, Shown::Step(200), 300).await.expect("an answer"));
    assert!(!finish(&database, 2, bob, Shown::Step(200), 1).await.expect("an answer"), "it is of one account");
    for n in 10..30 {
        half_open(&database, n, ann).await;
    }
    assert_eq!(number_of(&database, "account_sign_in").await, 5);
    account::disable(&database.primary, ann, &operator()).await.expect("shut out");
    assert_eq!(number_of(&database, "account_sign_in").await, 0);
    let refused = sign_in::begin(&database.primary, &[40; 32], ann, second(0), second(300)).await;
    assert!(conflicts(&refused, "account_state"), "{refused:?}");
}

#[tokio::test]
async fn a_reset_of_the_second_factor_is_for_the_role_that_was_looked_at() {
    let database = Database::with_portal().await;
    let ann = database.member("ann").await.id;
    enable(&database, ann).await.expect("it is set");
    half_open(&database, 1, ann).await;
    let by = operator();

    let other_role = second_factor::reset(&database.primary, (ann, Some("viewer")), &by).await;
    let other_link = reset::issue(&database.primary, (ann, Some("viewer")), &[5; 32], second(3600), &by).await;
    let done = second_factor::reset(&database.primary, (ann, None), &by).await.expect("it is gone");
    let again = second_factor::reset(&database.primary, (ann, None), &by).await;

    assert!(conflicts(&other_role, "account_role") && conflicts(&other_link, "account_role"), "{other_role:?} {other_link:?}");
    assert!(!done.has_second_factor && conflicts(&again, "second_factor_none"), "{again:?}");
    let left = (number_of(&database, "account_sign_in").await, number_of(&database, "account_recovery_code").await);
    assert_eq!(left, (0, 0));
    enable(&database, ann).await.expect("another is set");
    assert!(!second_factor::disable(&database.primary, ann, Shown::Step(100)).await.expect("an answer"), "a code that was used before");
    assert!(second_factor::disable(&database.primary, ann, Shown::Step(101)).await.expect("an answer"));
}

#[tokio::test]
async fn a_link_to_another_password_works_once_for_an_hour_and_alone() {
    let database = Database::with_portal().await;
    let ann = database.member("ann").await.id;
    let by = operator();
    let issue = async |n: u8| reset::issue(&database.primary, (ann, None), &[n; 32], second(3600), &by).await.expect("made");
    let is_there = async |n: u8, at: i64| reset::find(&database.primary, &[n; 32], second(at)).await.expect("an answer").is_some();
    let accept = async |n: u8, at: i64| reset::accept(&database.primary, (ann, &[n; 32]), second(at), PASSWORD, 4).await;

    issue(1).await;
    issue(2).await;
    let seen = (is_there(1, 0).await, is_there(2, 3599).await, is_there(2, 3600).await);
    let late = accept(2, 3600).await;
    let done = join_all((0..4).map(|_| accept(2, 10))).await;

    assert_eq!(seen, (false, true, false));
    assert!(matches!(late, Err(StoreError::NotFound { .. })), "{late:?}");
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1, "{done:?}");
    issue(3).await;
    account::set_password(&database.primary, ann, PASSWORD, 4).await.expect("set");
    assert!(!is_there(3, 0).await, "another password takes it back");
    issue(4).await;
    account::disable(&database.primary, ann, &by).await.expect("shut out");
    account::enable(&database.primary, ann, &by).await.expect("let in");
    assert!(!is_there(4, 0).await, "being shut out takes it back");
    account::rehash(&database.primary, ann, "another", PASSWORD, 9).await.expect("an answer");
    let kept = account::by_email(&database.primary, "ann@example.com").await.expect("an answer").expect("it is there");
    account::rehash(&database.primary, ann, PASSWORD, &PASSWORD.replace("aGFzaA", "b3RoZXI"), 9).await.expect("an answer");
    let renewed = account::by_email(&database.primary, "ann@example.com").await.expect("an answer").expect("it is there");
    assert_eq!((kept.pepper_version, renewed.pepper_version), (4, 9));
}

#[tokio::test]
async fn who_waits_for_two_weeks_or_stands_in_the_way_of_an_invitation_is_forgotten() {
    let database = Database::with_portal().await;
    let (old, waits) = (database.waiting("old").await, database.waiting("squatted").await);
    let age = "with aged as (update account set created_at = now() - interval '15 days' where email = 'old@example.com' returning 1) select count(*) from aged";
    assert_eq!(database.number(age).await, 1);
    let invited = NewInvitation { digest: &[6; 32], email: "squatted@example.com", team: None, role: Some("viewer"), expires_at: second(60) };
    invitation::create(&database.primary, invited, &operator()).await.expect("made");

    database.waiting("new").await;
    let who = Accepting::New { name: "Owner", password: PASSWORD, pepper_version: 3 };
    let accepted = invitation::accept(&database.primary, &[6; 32], second(1), who).await.expect("it is accepted").account;

    assert!(matches!(account::get(&database.primary, old).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(account::get(&database.primary, waits).await, Err(StoreError::NotFound { .. })));
    assert_eq!((accepted.email.as_str(), accepted.name.as_str()), ("squatted@example.com", "Owner"));
}

#[tokio::test]
async fn an_owner_who_is_shut_out_does_not_count_as_one() {
    let database = Database::with_portal().await;
    let ann = database.member("ann").await.id;
    let team = team::of_account(&database.primary, ann).await.expect("a list")[0].consumer;
    let invited =
        NewInvitation { digest: &[6; 32], email: "bob@example.com", team: Some((team, TeamRole::Owner)), role: None, expires_at: second(60) };
    invitation::create(&database.primary, invited, &operator()).await.expect("made");
    let who = Accepting::New { name: "Bob", password: PASSWORD, pepper_version: 3 };
    let bob = invitation::accept(&database.primary, &[6; 32], second(1), who).await.expect("it is accepted").account.id;

    account::disable(&database.primary, bob, &operator()).await.expect("shut out");
    let alone = team::remove(&database.primary, team, ann).await;
    account::enable(&database.primary, bob, &operator()).await.expect("let in");

    assert!(conflicts(&alone, "team_last_owner"), "{alone:?}");
    team::remove(&database.primary, team, ann).await.expect("bob is one again");
}

#[tokio::test]
async fn an_identity_is_one_account_and_an_address_is_none() {
    let database = Database::with_portal().await;
    database.member("ann").await;
    let identity = Identity { issuer: "https://login.example", subject: "1" };
    let new = |identity, email, role| NewIdentity { identity, email, name: "Ann", role };

    let stranger = NewAccount { email: "one@example.com", name: "Eve", password: PASSWORD, pepper_version: 4, organization: "" };
    account::ask(&database.primary, stranger).await.expect("it waits, with an address that is not theirs");

    let taken = identity::sign_in(&database.primary, new(identity, "ann@example.com", "viewer")).await;
    let made = identity::sign_in(&database.primary, new(identity, "one@example.com", "viewer")).await.expect("made");
    let again = identity::sign_in(&database.primary, new(identity, "other@example.com", "auditor")).await.expect("found");
    let other = Identity { issuer: "https://other.example", ..identity };
    let elsewhere = identity::sign_in(&database.primary, new(other, "one@example.com", "viewer")).await;

    assert!(conflicts(&taken, "account_email_unique") && conflicts(&elsewhere, "account_email_unique"), "{taken:?} {elsewhere:?}");
    assert_eq!((made.id, again.email.as_str(), again.role.as_deref()), (again.id, "one@example.com", Some("auditor")));
    let session = NewSession { digest: &[9; 32], account: made.id, proof: Proof::Provider, at: second(0), expires_at: second(3600) };
    session::begin(&database.primary, session).await.expect("it begins");
    let by = operator();
    let reset = reset::issue(&database.primary, (made.id, Some("auditor")), &[5; 32], second(3600), &by).await;
    assert!(conflicts(&reset, "account_provided"), "{reset:?}");
    assert_eq!(identity::withdraw(&database.primary, identity).await.expect("an answer"), Some(made.id));
    assert_eq!(identity::withdraw(&database.primary, other).await.expect("an answer"), None);
    let left = account::get(&database.primary, made.id).await.expect("it is there");
    assert_eq!((left.role, number_of(&database, "account_session").await), (None, 0));
    // Somebody with a password, a second factor, a session and a link that waits.
    let ann = account::by_email(&database.primary, "ann@example.com").await.expect("an answer").expect("it is there").account.id;
    enable(&database, ann).await.expect("it is on");
    reset::issue(&database.primary, (ann, None), &[6; 32], second(3600), &by).await.expect("it waits");
    let session = NewSession { digest: &[10; 32], account: ann, proof: Proof::SecondFactor, at: second(0), expires_at: second(3600) };
    session::begin(&database.primary, session).await.expect("it begins");
    let hers = Identity { subject: "2", ..identity };
    let of_another = identity::link(&database.primary, (ann, None), identity, &by).await;
    let changed = identity::link(&database.primary, (ann, Some("viewer")), hers, &by).await;
    assert!(conflicts(&of_another, "account_identity_pk") && conflicts(&changed, "account_role"), "{of_another:?} {changed:?}");
    assert_eq!(number_of(&database, "account_session").await, 1, "a refusal ends nothing");
    identity::link(&database.primary, (ann, None), hers, &by).await.expect("linked");
    let twice = identity::link(&database.primary, (ann, None), Identity { subject: "3", ..identity }, &by).await;
    assert!(conflicts(&twice, "account_provided"), "{twice:?}");
    for table in ["account_session", "account_second_factor"] {
        assert_eq!(number_of(&database, table).await, 0, "{table}");
    }
    let late = reset::accept(&database.primary, (ann, &[6; 32]), second(1), PASSWORD, 4).await;
    assert!(matches!(late, Err(StoreError::NotFound { .. })), "{late:?}");
    // A sign-in and a change of the password that were under way when it was linked.
    let late = NewSession { digest: &[11; 32], account: ann, proof: Proof::SecondFactor, at: second(0), expires_at: second(3600) };
    session::begin(&database.primary, late).await.expect("it begins");
    let password = account::set_password(&database.primary, ann, PASSWORD, 4).await;
    assert!(matches!(password, Err(StoreError::NotFound { .. })), "{password:?}");
    assert_eq!(identity::sign_in(&database.primary, new(hers, "new@example.com", "viewer")).await.expect("found").id, ann);
    assert_eq!(number_of(&database, "account_session").await, 0, "whoever began that session is not whom the provider means");
    let used = join_all((0..4).map(|_| identity::use_once(&database.primary, &[8; 32], second(0), second(600)))).await;
    assert_eq!(used.iter().filter(|used| matches!(used, Ok(true))).count(), 1, "{used:?}");
}
