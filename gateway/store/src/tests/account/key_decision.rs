//! Keys that wait for approval: who decides, that one decision counts, and that the team hears of it.

use futures_util::future::join;
use model::{
    change::KeyState,
    id::{AccountId, ConsumerId},
    key::{KeyId, Purpose},
    time::UtcMicros,
};

use super::{Database, RACES, conflicts, members, operator};
use crate::{
    account::team::{self, TeamRole},
    actor::{Actor, ActorKind},
    application::{self, NewApplication},
    key::{
        self, NewKey, RevokedReason,
        decide::{self, Verdict},
    },
    tests::fixture::{LATER, issued},
};

fn account(id: AccountId) -> Actor {
    Actor { kind: ActorKind::Account, name: id.to_string() }
}

impl Database {
    /// The team of somebody who has signed up.
    async fn team_of(&self, id: AccountId) -> ConsumerId {
        members::of_account(&self.primary, id).await.expect("a list")[0].consumer
    }

    /// A key of a team that somebody has asked for.
    async fn asked(&self, name: &str, consumer: ConsumerId, by: &Actor) -> KeyId {
        let new = NewApplication { name, consumer, plan: None, scopes: &[], at_most: None };
        let application = application::create(&self.primary, new, &operator()).await.expect("an application is made").item.id;
        let issued = issued(Purpose::Live);
        let new = NewKey { state: KeyState::Pending, ..NewKey::of(&issued, "k", application, LATER) };
        key::create(&self.primary, new, by).await.expect("it is asked for");
        issued.id
    }
}

#[tokio::test]
async fn nobody_decides_about_a_key_of_their_own_team_nor_about_one_that_they_asked_for() {
    let database = Database::with_portal().await;
    let primary = &database.primary;
    let (ann, bob, eve) = (database.member("ann").await.id, database.member("bob").await.id, database.member("eve").await.id);
    let consumer = database.team_of(ann).await;
    let id = database.asked("shop", consumer, &account(bob)).await;

    let own = decide::approve(primary, &id, &account(ann)).await;
    let own_refused = decide::refuse(primary, &id, "no", &account(ann)).await;
    // Bob has asked for it when he belonged to the team; he does no more.
    let asked = decide::approve(primary, &id, &account(bob)).await;
    let waits = key::get(primary, &id).await.expect("it is there");
    let decided = decide::approve(primary, &id, &account(eve)).await.expect("she belongs to another team").item;

    for result in [&own, &own_refused, &asked] {
        assert!(conflicts(result, "key_own_team"), "{result:?}");
    }
    assert_eq!((waits.state, waits.decision), (KeyState::Pending, None));
    let decision = decided.decision.expect("it is noted");
    assert_eq!(
        (decided.state, decision.verdict, decision.by, decision.reason),
        (KeyState::Active, Verdict::Approved, account(eve).to_string(), None)
    );
    let again = decide::approve(primary, &id, &account(ann)).await;
    assert!(conflicts(&again, "key_own_team"), "nor afterwards: {again:?}");
    let roles = team::members(primary, consumer).await.expect("a list");
    assert_eq!(roles.iter().map(|member| member.role).collect::<Vec<_>>(), [TeamRole::Owner]);
}

#[tokio::test]
async fn a_refused_key_is_revoked_for_good_and_its_team_is_told_why() {
    let database = Database::with_portal().await;
    let primary = &database.primary;
    let ann = database.member("ann").await.id;
    let consumer = database.team_of(ann).await;
    let id = database.asked("shop", consumer, &account(ann)).await;
    let before = database.number("select rev from control_head where lane = 'authority'").await;

    let refused = decide::refuse(primary, &id, "the plan is for tests", &operator()).await.expect("it is refused");
    let again = decide::refuse(primary, &id, "another reason", &operator()).await.expect("once more");
    let late = decide::approve(primary, &id, &operator()).await;

    let info = key::get(primary, &id).await.expect("it is there");
    let decision = info.decision.expect("it is noted");
    assert_eq!(
        (info.state, info.revoked_reason, info.revoked_by.as_deref()),
        (KeyState::Revoked, Some(RevokedReason::Refused), Some("operator:ann"))
    );
    assert_eq!((decision.verdict, decision.reason.as_deref()), (Verdict::Refused, Some("the plan is for tests")), "the first reason stays");
    assert_eq!((again.revisions, i64::try_from(refused.revisions.authority).expect("small")), (refused.revisions, before + 1));
    assert!(conflicts(&late, "key_refused"), "{late:?}");
    let logged =
        database.texts(format!("select actor || ' ' || (body ->> 'state') from control_log where entity = '{id}' order by rev desc limit 1"));
    assert_eq!(logged.await, ["operator:ann revoked"]);
    let told = "select data ->> 'reason' from notification where kind = 'key.refused' and channel = 'mail'";
    assert_eq!(database.texts(told).await, ["the plan is for tests"]);
}

#[tokio::test]
async fn leaked_keys_are_told_to_their_own_team_for_a_while() {
    let database = Database::with_portal().await;
    let primary = &database.primary;
    let (ann, bob) = (database.member("ann").await.id, database.member("bob").await.id);
    let (of_ann, of_bob) = (database.team_of(ann).await, database.team_of(bob).await);
    let id = database.asked("shop", of_ann, &account(ann)).await;
    let ended = database.asked("other", of_ann, &account(ann)).await;
    let before = UtcMicros(0);
    let leaked = async |teams: &[ConsumerId], since| key::leaked(primary, teams, since, 5).await.expect("a list");

    assert_eq!(leaked(&[of_ann, of_bob], before).await, []);
    key::revoke(primary, &id, RevokedReason::Leaked, &operator()).await.expect("revoked");
    key::revoke(primary, &ended, RevokedReason::Asked, &operator()).await.expect("revoked");

    let expected = [(id.to_string(), "k".to_owned())];
    assert_eq!((leaked(&[of_ann], before).await, leaked(&[of_bob], before).await), (expected.to_vec(), Vec::new()));
    assert_eq!(leaked(&[of_bob, of_ann], before).await, expected);
    assert_eq!(leaked(&[of_ann], LATER).await, [], "not for ever");
}

/// Two who decide at once: one decision counts, and the other is told which.
#[tokio::test]
async fn of_an_approval_and_a_refusal_at_once_one_counts() {
    let database = Database::with_portal().await;
    let primary = &database.primary;
    let ann = database.member("ann").await.id;
    let consumer = database.team_of(ann).await;
    let by = operator();
    for race in 0..RACES {
        let id = database.asked(&format!("a{race}"), consumer, &account(ann)).await;

        let (approved, refused) = Box::pin(join(decide::approve(primary, &id, &by), decide::refuse(primary, &id, "no", &by))).await;

        let info = key::get(primary, &id).await.expect("it is there");
        let verdict = info.decision.expect("it is noted").verdict;
        match (approved, refused) {
            (Ok(_), lost) => {
                assert!(conflicts(&lost, "key_approved"), "race {race}: {lost:?}");
                assert_eq!((info.state, verdict), (KeyState::Active, Verdict::Approved));
            }
            (lost, Ok(_)) => {
                assert!(conflicts(&lost, "key_refused"), "race {race}: {lost:?}");
                assert_eq!((info.state, verdict), (KeyState::Revoked, Verdict::Refused));
            }
            (one, other) => panic!("race {race}: {one:?} {other:?}"),
        }
        let told =
            database.number(format!("select count(distinct kind) from notification where data #>> '{{key,id}}' = '{id}' and kind <> 'key.waits'"));
        assert_eq!(told.await, 1, "race {race}");
    }
}
