//! Promises about tokens of people: whose they are, how many, and when they end.

use futures_util::future::join_all;
use model::{
    key::{self, Issued, KeyId, Peppers, Purpose},
    secret::SecretKey,
    time::UtcMicros,
};

use super::{conflicts, visitor};
use crate::{
    account::{
        self, AccountInfo,
        token::{self, NewToken, TOKENS_MAX},
    },
    error::StoreError,
    tests::fixture::{Database, operator},
};

const NOW: UtcMicros = UtcMicros(1_764_000_000_000_000);

/// A credential by its number. Ids are made of the digits that bytes stand for, so numbers below 62 have ids of their own.
fn issued(n: u8) -> Issued {
    assert!(n < 62);
    let peppers = Peppers::new([(1, SecretKey::new([3; 32]))]).unwrap();
    key::issue(Purpose::Personal, &peppers, &[n; 32], &[n; 32]).unwrap()
}

impl Database {
    async fn token(&self, account: &AccountInfo, n: u8, days: i64) -> Result<KeyId, StoreError> {
        let issued = issued(n);
        let new = NewToken { issued: &issued, account: account.id, name: "laptop", at: NOW, expires_at: NOW.plus_seconds(days * 86_400) };
        token::create(&self.primary, new).await.map(|made| made.id)
    }
}

#[tokio::test]
async fn a_token_is_found_by_its_id_and_listed_for_its_owner_alone() {
    let database = Database::with_portal().await;
    let (ann, bob) = (database.member("ann").await, database.member("bob").await);
    let id = database.token(&ann, 1, 30).await.unwrap();

    let found = token::find(&database.primary, &id).await.unwrap().unwrap();
    assert_eq!((found.account, found.digest.0, found.pepper_version), (ann.id, issued(1).digest.0, 1));
    assert_eq!(found.expires_at, NOW.plus_seconds(30 * 86_400));
    let listed = token::of_account(&database.primary, ann.id).await.unwrap();
    assert_eq!(listed.iter().map(|info| (info.id, info.name.as_str())).collect::<Vec<_>>(), [(id, "laptop")]);
    assert!(token::of_account(&database.primary, bob.id).await.unwrap().is_empty());
    assert!(token::find(&database.primary, &issued(2).id).await.unwrap().is_none());
    assert!(conflicts(&database.token(&bob, 1, 30).await, "account_token_pk"), "an id is one token's");
}

#[tokio::test]
async fn nobody_but_its_owner_revokes_a_token_and_it_stays_revoked() {
    let database = Database::with_portal().await;
    let (ann, bob) = (database.member("ann").await, database.member("bob").await);
    let id = database.token(&ann, 1, 30).await.unwrap();

    assert!(matches!(token::revoke(&database.primary, bob.id, &id).await, Err(StoreError::NotFound { .. })));
    assert!(token::find(&database.primary, &id).await.unwrap().is_some());
    for _ in 0..2 {
        token::revoke(&database.primary, ann.id, &id).await.unwrap();
        assert!(token::find(&database.primary, &id).await.unwrap().is_none());
    }
    assert!(token::of_account(&database.primary, ann.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_person_who_is_shut_out_has_no_token_any_more_and_gets_none() {
    let database = Database::with_portal().await;
    let ann = database.member("ann").await;
    let id = database.token(&ann, 1, 30).await.unwrap();

    account::disable(&database.primary, ann.id, &operator()).await.unwrap();
    assert!(token::find(&database.primary, &id).await.unwrap().is_none());
    assert!(conflicts(&database.token(&ann, 2, 30).await, "account_state"));
    account::enable(&database.primary, ann.id, &visitor()).await.unwrap();
    assert!(token::find(&database.primary, &id).await.unwrap().is_none(), "it does not come back");
    database.token(&ann, 2, 30).await.unwrap();
}

#[tokio::test]
async fn another_password_ends_what_the_old_one_may_have_made() {
    let database = Database::with_portal().await;
    let (ann, bob) = (database.member("ann").await, database.member("bob").await);
    let (of_ann, of_bob) = (database.token(&ann, 1, 30).await.unwrap(), database.token(&bob, 2, 30).await.unwrap());

    account::set_password(&database.primary, ann.id, super::PASSWORD, 3).await.unwrap();
    assert!(token::find(&database.primary, &of_ann).await.unwrap().is_none());
    assert!(token::find(&database.primary, &of_bob).await.unwrap().is_some(), "nobody else's");
    database.token(&ann, 3, 30).await.unwrap();
}

#[tokio::test]
async fn their_number_holds_under_a_race_and_those_that_ended_do_not_count() {
    let database = Database::with_portal().await;
    let ann = database.member("ann").await;
    let old = database.token(&ann, 55, -40).await.unwrap();
    assert!(token::find(&database.primary, &old).await.unwrap().is_some());
    for n in 0..5 {
        database.token(&ann, 30 + n, -1).await.unwrap();
    }

    let made = join_all((0..TOKENS_MAX + 5).map(|n| database.token(&ann, u8::try_from(n).unwrap(), 30))).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), usize::try_from(TOKENS_MAX).unwrap());
    assert!(made.iter().all(|made| made.is_ok() || conflicts(made, "token_count")), "{made:?}");
    assert!(token::find(&database.primary, &old).await.unwrap().is_none(), "what ended more than a month ago is gone");

    let live = made.into_iter().flatten().next().unwrap();
    token::revoke(&database.primary, ann.id, &live).await.unwrap();
    database.token(&ann, 50, 30).await.unwrap();
}
