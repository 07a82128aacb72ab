//! Teams: who belongs to one, and that it keeps an owner.

use futures_util::future::join_all;
use model::id::{AccountId, ConsumerId};

use super::{RACES, conflicts};
use crate::{
    account::team::{self, TeamRole},
    consumer,
    error::StoreError,
    tests::fixture::{Database, document, operator},
};

/// Puts somebody into a team, past every rule.
async fn put(database: &Database, consumer: ConsumerId, account: AccountId, role: &str) {
    let (consumer, account) = (consumer.uuid(), account.uuid());
    database.run(format!("insert into team_member (consumer_id, account_id, role) values ('{consumer}', '{account}', '{role}')")).await;
}

async fn owners(database: &Database, consumer: ConsumerId) -> i64 {
    database.number(format!("select count(*) from team_member where role = 'owner' and consumer_id = '{}'", consumer.uuid())).await
}

#[tokio::test]
async fn members_and_teams_are_listed_and_their_roles_change() {
    let database = Database::with_portal().await;
    let (ann, bob) = (database.member("ann").await, database.member("bob").await);
    let consumer = consumer::by_name(&database.primary, "ann").await.expect("it is there").id;
    put(&database, consumer, bob.id, "viewer").await;

    let before = team::of_account(&database.primary, bob.id).await.expect("a list");
    team::set_role(&database.primary, consumer, bob.id, TeamRole::Developer).await.expect("changed");
    let members = team::members(&database.primary, consumer).await.expect("a list");
    team::remove(&database.primary, consumer, bob.id).await.expect("removed");
    let after = team::of_account(&database.primary, bob.id).await.expect("a list");

    let names = |teams: &[team::Membership]| teams.iter().map(|team| (team.consumer_name.clone(), team.role)).collect::<Vec<_>>();
    assert_eq!(names(&before), [("ann".to_owned(), TeamRole::Viewer), ("bob".to_owned(), TeamRole::Owner)]);
    assert_eq!(names(&after), [("bob".to_owned(), TeamRole::Owner)]);
    let members: Vec<_> = members.iter().map(|member| (member.account.id, member.role)).collect();
    assert_eq!(members, [(ann.id, TeamRole::Owner), (bob.id, TeamRole::Developer)]);
    for role in [TeamRole::Owner, TeamRole::Developer, TeamRole::Viewer] {
        assert_eq!(TeamRole::parse(role.as_str()), Some(role));
    }
    for result in [
        team::remove(&database.primary, consumer, bob.id).await,
        team::set_role(&database.primary, consumer, bob.id, TeamRole::Owner).await,
        team::remove(&database.primary, ConsumerId::new(uuid::Uuid::nil()), ann.id).await,
    ] {
        assert!(matches!(result, Err(StoreError::NotFound { what: "team member", .. })), "{result:?}");
    }
}

#[tokio::test]
async fn the_last_owner_stays_one() {
    let database = Database::with_portal().await;
    let (ann, bob) = (database.member("ann").await.id, database.member("bob").await.id);
    let consumer = consumer::by_name(&database.primary, "ann").await.expect("it is there").id;
    put(&database, consumer, bob, "developer").await;

    let alone = [team::remove(&database.primary, consumer, ann).await, team::set_role(&database.primary, consumer, ann, TeamRole::Developer).await];
    team::set_role(&database.primary, consumer, ann, TeamRole::Owner).await.expect("nothing changes");
    team::set_role(&database.primary, consumer, bob, TeamRole::Owner).await.expect("there are two");
    team::remove(&database.primary, consumer, ann).await.expect("the other one is left");

    for result in alone {
        assert!(conflicts(&result, "team_last_owner"), "{result:?}");
    }
    assert_eq!(owners(&database, consumer).await, 1);
}

/// Two owners who remove each other, or themselves, at once: one of them stays.
#[tokio::test]
async fn a_team_keeps_an_owner_when_two_go_at_once() {
    let database = Database::with_portal().await;
    let (ann, bob) = (database.member("ann").await.id, database.member("bob").await.id);
    let consumer = consumer::by_name(&database.primary, "ann").await.expect("it is there").id;
    for race in 0..RACES {
        database.run(format!("delete from team_member where consumer_id = '{}'", consumer.uuid())).await;
        put(&database, consumer, ann, "owner").await;
        put(&database, consumer, bob, "owner").await;
        let leaves = async |account| {
            if race % 2 == 0 {
                team::remove(&database.primary, consumer, account).await
            } else {
                team::set_role(&database.primary, consumer, account, TeamRole::Viewer).await
            }
        };

        let results = join_all([ann, bob].into_iter().map(leaves)).await;

        let (left, refused) = results.iter().partition::<Vec<_>, _>(|result| result.is_ok());
        assert_eq!((left.len(), owners(&database, consumer).await), (1, 1), "race {race}: {results:?}");
        assert!(conflicts(refused[0], "team_last_owner"), "race {race}: {results:?}");
    }
}

/// Both ways in which a consumer goes: through the API, and out of the file.
#[tokio::test]
async fn a_consumer_that_goes_takes_its_team_with_it_and_leaves_the_people() {
    let database = Database::with_portal().await;
    let (ann, tenants) = (database.member("ann").await.id, "tenants: [{ name: acme, hosts: [] }]");
    database.apply(&document(&format!("{tenants}\nconsumers: [{{ name: filed }}]"))).await;
    let filed = consumer::by_name(&database.primary, "filed").await.expect("it is there").id;
    put(&database, filed, ann, "owner").await;
    let made = consumer::by_name(&database.primary, "ann").await.expect("it is there").id;

    consumer::delete(&database.primary, made, &operator()).await.expect("deleted");
    let left = team::of_account(&database.primary, ann).await.expect("a list");
    database.apply(&document(tenants)).await;

    assert_eq!(left.iter().map(|team| team.consumer).collect::<Vec<_>>(), [filed]);
    assert!(team::of_account(&database.primary, ann).await.expect("a list").is_empty());
    assert_eq!(database.number("select count(*) from account").await, 1);
}
