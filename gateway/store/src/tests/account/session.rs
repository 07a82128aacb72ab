//! Sessions: how many, for how long, and what ends them.

use futures_util::future::{join, join_all};
use model::{id::AccountId, time::UtcMicros};

use super::{PASSWORD, RACES, conflicts, person};
use crate::{
    account::{
        self, AccountState,
        session::{self, NewSession, Proof, SESSIONS_MAX},
    },
    error::StoreError,
    tests::fixture::{Database, operator},
};

/// 2100-01-01, in seconds: the clock of the database must not matter.
const START: i64 = 4_102_444_800;

const fn second(n: i64) -> UtcMicros {
    UtcMicros((START + n) * 1_000_000)
}

/// A digest that no other session has.
fn digest(n: usize) -> [u8; 32] {
    let mut digest = [5; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    digest
}

async fn begin(database: &Database, n: usize, account: AccountId, at: i64) -> Result<(), StoreError> {
    let new = NewSession { digest: &digest(n), account, proof: Proof::Password, at: second(at), expires_at: second(at + 3600) };
    session::begin(&database.primary, new).await
}

async fn is_there(database: &Database, n: usize) -> bool {
    session::find(&database.primary, &digest(n)).await.expect("an answer").is_some()
}

async fn count(database: &Database) -> i64 {
    database.number("select count(*) from account_session").await
}

#[tokio::test]
async fn a_session_is_found_with_its_account_until_it_ends() {
    let database = Database::with_portal().await;
    let ann = database.member("ann").await;
    begin(&database, 1, ann.id, 0).await.expect("it begins");

    session::touch(&database.primary, &digest(1), second(60)).await.expect("noted");
    session::touch(&database.primary, &digest(1), second(30)).await.expect("noted");
    let found = session::find(&database.primary, &digest(1)).await.expect("an answer").expect("it is there");
    session::end(&database.primary, &digest(1)).await.expect("it ends");
    session::end(&database.primary, &digest(1)).await.expect("it has ended");

    let times = (found.created_at, found.seen_at, found.expires_at);
    assert_eq!((found.account.id, found.account.state, times), (ann.id, AccountState::Active, (second(0), second(60), second(3600))));
    assert!(!is_there(&database, 1).await && !is_there(&database, 2).await);
}

#[tokio::test]
async fn an_account_keeps_its_newest_sessions_and_none_that_has_ended() {
    let database = Database::with_portal().await;
    let (ann, bob) = (database.member("ann").await.id, database.member("bob").await.id);
    let most = usize::try_from(SESSIONS_MAX).expect("small");
    begin(&database, 1000, bob, 0).await.expect("it begins");

    for n in 0..most + 5 {
        begin(&database, n, ann, i64::try_from(n).expect("small")).await.expect("it begins");
    }
    let newest = join_all([0, 4, 5, most + 4, 1000].map(|n| is_there(&database, n))).await;
    // A clock that was set back: the session that begins stays.
    begin(&database, 2000, ann, -100).await.expect("it begins");
    let after_old_clock = (is_there(&database, 2000).await, is_there(&database, 5).await, count(&database).await);
    // An hour and a half later all of them are over, bob's too.
    begin(&database, 3000, ann, 5400).await.expect("it begins");

    assert_eq!(newest, [false, false, true, true, true]);
    assert_eq!(after_old_clock, (true, false, i64::from(SESSIONS_MAX) + 1));
    assert_eq!((count(&database).await, is_there(&database, 3000).await), (1, true));
}

#[tokio::test]
async fn the_bound_of_sessions_holds_when_many_begin_at_once() {
    let database = Database::with_portal().await;
    let ann = database.member("ann").await.id;
    let more = usize::try_from(SESSIONS_MAX).expect("small") * 2;

    let begun = join_all((0..more).map(|n| begin(&database, n, ann, 0))).await;

    assert!(begun.iter().all(Result::is_ok), "{begun:?}");
    assert_eq!(count(&database).await, i64::from(SESSIONS_MAX));
}

#[tokio::test]
async fn disabling_ends_every_session_and_enabling_brings_none_back() {
    let database = Database::with_portal().await;
    let (ann, bob) = (database.member("ann").await.id, database.member("bob").await.id);
    for (n, account) in [(1, ann), (2, ann), (3, bob)] {
        begin(&database, n, account, 0).await.expect("it begins");
    }

    let disabled = account::disable(&database.primary, ann, &operator()).await.expect("shut out");
    let left = (is_there(&database, 1).await, is_there(&database, 2).await, is_there(&database, 3).await);
    let refused = begin(&database, 4, ann, 0).await;
    let enabled = account::enable(&database.primary, ann, &operator()).await.expect("let in again");

    assert_eq!((disabled.state, enabled.state, left), (AccountState::Disabled, AccountState::Active, (false, false, true)));
    assert!(conflicts(&refused, "account_state"), "{refused:?}");
    assert!(!is_there(&database, 1).await);
    begin(&database, 5, ann, 0).await.expect("it begins");
    let nobody = account::disable(&database.primary, AccountId::new(uuid::Uuid::nil()), &operator()).await;
    assert!(matches!(nobody, Err(StoreError::NotFound { what: "account", .. })), "{nobody:?}");
}

/// A session that begins while its account is disabled ends with the others, or does not begin.
#[tokio::test]
async fn no_session_slips_past_the_disabling_of_its_account() {
    let database = Database::with_portal().await;
    let ann = database.member("ann").await.id;
    for race in 0..RACES {
        let by = operator();
        let begins = join_all((0..4).map(|n| begin(&database, race * 10 + n, ann, 0)));

        let (_, disabled) = join(begins, account::disable(&database.primary, ann, &by)).await;

        disabled.expect("shut out");
        assert_eq!(count(&database).await, 0, "race {race}");
        account::enable(&database.primary, ann, &by).await.expect("let in again");
    }
}

#[tokio::test]
async fn another_password_ends_every_session() {
    let database = Database::with_portal().await;
    let ann = database.member("ann").await.id;
    begin(&database, 1, ann, 0).await.expect("it begins");
    let other = PASSWORD.replace("aGFzaA", "b3RoZXI");

    account::set_password(&database.primary, ann, &other, 4).await.expect("it is set");
    let sign_in = account::by_email(&database.primary, person("ann@example.com").email).await.expect("an answer").expect("it is there");
    let nobody = account::set_password(&database.primary, AccountId::new(uuid::Uuid::nil()), &other, 4).await;

    assert_eq!((sign_in.password, sign_in.pepper_version, count(&database).await), (Some(other), 4, 0));
    assert!(matches!(nobody, Err(StoreError::NotFound { what: "account", .. })), "{nobody:?}");
}

#[tokio::test]
async fn all_sessions_of_an_account_end_together_and_are_counted() {
    let database = Database::with_portal().await;
    let (ann, bob) = (database.member("ann").await.id, database.member("bob").await.id);
    for (n, account) in [(1, ann), (2, ann), (3, bob)] {
        begin(&database, n, account, 0).await.expect("it begins");
    }

    let ended =
        [session::end_all(&database.primary, ann).await.expect("an answer"), session::end_all(&database.primary, ann).await.expect("an answer")];

    assert_eq!((ended, count(&database).await), ([2, 0], 1));
}
