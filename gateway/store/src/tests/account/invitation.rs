//! Invitations: they work once, for whom they are, while they last.

use futures_util::future::join_all;
use model::{id::ConsumerId, time::UtcMicros};

use super::{PASSWORD, RACES, conflicts};
use crate::{
    account::{
        self, AccountState,
        invitation::{self, Accepting, NewInvitation},
        team::{self, TeamRole},
    },
    consumer,
    error::StoreError,
    tests::fixture::{Database, LATER, operator},
};

/// Somebody without an account.
const SOMEBODY: Accepting<'_> = Accepting::New { name: "Bob", password: PASSWORD, pepper_version: 3 };

/// An hour before the invitations end.
const NOW: UtcMicros = UtcMicros(LATER.0 - 3_600_000_000);

fn to_team<'a>(digest: &'a [u8; 32], email: &'a str, consumer: ConsumerId, role: TeamRole) -> NewInvitation<'a> {
    NewInvitation { digest, email, team: Some((consumer, role)), role: None, expires_at: LATER }
}

fn to_console<'a>(digest: &'a [u8; 32], email: &'a str, role: &'a str) -> NewInvitation<'a> {
    NewInvitation { digest, email, team: None, role: Some(role), expires_at: LATER }
}

async fn with_team() -> (Database, ConsumerId) {
    let database = Database::with_portal().await;
    database.member("ann").await;
    let consumer = consumer::by_name(&database.primary, "ann").await.expect("it is there").id;
    (database, consumer)
}

async fn invite(database: &Database, new: NewInvitation<'_>) -> invitation::Invitation {
    invitation::create(&database.primary, new, &operator()).await.expect("invited")
}

async fn accept(database: &Database, digest: &[u8; 32], who: Accepting<'_>) -> Result<account::AccountInfo, StoreError> {
    invitation::accept(&database.primary, digest, NOW, who).await.map(|accepted| accepted.account)
}

fn is_gone<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::NotFound { what: "invitation", .. }))
}

#[tokio::test]
async fn somebody_new_gets_an_account_and_joins_the_team() {
    let (database, consumer) = with_team().await;
    let made = invite(&database, to_team(&[1; 32], "bob@example.com", consumer, TeamRole::Developer)).await;
    let found = invitation::find(&database.primary, &[1; 32]).await.expect("an answer").expect("it is there");
    let listed = invitation::of_team(&database.primary, consumer).await.expect("a list");

    let bob = accept(&database, &[1; 32], SOMEBODY).await.expect("accepted");
    let again = accept(&database, &[1; 32], SOMEBODY).await;

    assert_eq!((found.id, listed.len(), listed[0].id), (made.id, 1, made.id));
    assert_eq!((found.consumer, found.team_role, found.role), (Some((consumer, "ann".to_owned())), Some(TeamRole::Developer), None));
    assert_eq!((found.email.as_str(), found.invited_by.as_str(), found.expires_at), ("bob@example.com", "operator:ann", LATER));
    assert_eq!((bob.email.as_str(), bob.state, bob.role, bob.organization.as_str()), ("bob@example.com", AccountState::Active, None, ""));
    let teams = team::of_account(&database.primary, bob.id).await.expect("a list");
    assert_eq!((teams.len(), teams[0].consumer, teams[0].role), (1, consumer, TeamRole::Developer));
    assert!(is_gone(&again), "{again:?}");
    assert!(invitation::of_team(&database.primary, consumer).await.expect("a list").is_empty());
    assert!(!format!("{SOMEBODY:?}").contains("argon2id"));
}

/// Single use: of many who open the link at once, one gets the account, and the others are told that there is no invitation.
#[tokio::test]
async fn an_invitation_that_is_accepted_twice_at_once_makes_one_account() {
    let (database, consumer) = with_team().await;
    for race in 0..RACES {
        let (digest, email) = ([u8::try_from(race).expect("small"); 32], format!("p{race}@example.com"));
        invite(&database, to_team(&digest, &email, consumer, TeamRole::Viewer)).await;

        let results = join_all((0..4).map(|_| accept(&database, &digest, SOMEBODY))).await;

        let accounts = database.number(format!("select count(*) from account where email = '{email}'")).await;
        assert_eq!((results.iter().filter(|result| result.is_ok()).count(), accounts), (1, 1), "race {race}: {results:?}");
        assert_eq!(results.iter().filter(|result| is_gone(result)).count(), 3, "race {race}: {results:?}");
    }
}

#[tokio::test]
async fn somebody_known_joins_and_what_they_are_already_stays() {
    let (database, consumer) = with_team().await;
    let bob = database.member("bob").await.id;
    let ann = account::by_email(&database.primary, "ann@example.com").await.expect("an answer").expect("it is there").account.id;
    invite(&database, to_team(&[1; 32], "bob@example.com", consumer, TeamRole::Viewer)).await;
    invite(&database, to_team(&[2; 32], "ann@example.com", consumer, TeamRole::Viewer)).await;

    accept(&database, &[1; 32], Accepting::Known(bob)).await.expect("accepted");
    accept(&database, &[2; 32], Accepting::Known(ann)).await.expect("accepted");

    let members = team::members(&database.primary, consumer).await.expect("a list");
    let members: Vec<_> = members.iter().map(|member| (member.account.id, member.role)).collect();
    assert_eq!(members, [(ann, TeamRole::Owner), (bob, TeamRole::Viewer)], "or the team would have no owner");
}

#[tokio::test]
async fn an_invitation_can_make_an_operator_with_or_without_a_team() {
    let (database, consumer) = with_team().await;
    let ann = account::by_email(&database.primary, "ann@example.com").await.expect("an answer").expect("it is there").account.id;
    invite(&database, to_console(&[1; 32], "bob@example.com", "auditor")).await;
    let both = NewInvitation { role: Some("viewer"), ..to_team(&[2; 32], "ann@example.com", consumer, TeamRole::Owner) };
    invite(&database, both).await;

    let bob = accept(&database, &[1; 32], SOMEBODY).await.expect("accepted");
    let ann = accept(&database, &[2; 32], Accepting::Known(ann)).await.expect("accepted");

    assert_eq!((bob.role.as_deref(), ann.role.as_deref()), (Some("auditor"), Some("viewer")));
    assert_eq!(account::get(&database.primary, ann.id).await.expect("it is there").role.as_deref(), Some("viewer"));
    assert!(team::of_account(&database.primary, bob.id).await.expect("a list").is_empty());
}

#[tokio::test]
async fn an_invitation_that_cannot_be_accepted_can_be_by_the_right_person() {
    let (database, consumer) = with_team().await;
    let (bob, eve) = (database.member("bob").await.id, database.member("eve").await.id);
    invite(&database, to_team(&[1; 32], "bob@example.com", consumer, TeamRole::Viewer)).await;

    let taken = accept(&database, &[1; 32], SOMEBODY).await;
    let other = accept(&database, &[1; 32], Accepting::Known(eve)).await;
    account::disable(&database.primary, bob, &operator()).await.expect("shut out");
    let disabled = accept(&database, &[1; 32], Accepting::Known(bob)).await;
    let late = invitation::accept(&database.primary, &[1; 32], LATER, Accepting::Known(bob)).await;
    account::enable(&database.primary, bob, &operator()).await.expect("let in again");

    assert!(conflicts(&taken, "account_email_unique"), "{taken:?}");
    assert!(conflicts(&other, "invitation_email"), "{other:?}");
    assert!(conflicts(&disabled, "account_state"), "{disabled:?}");
    assert!(is_gone(&late), "{late:?}");
    assert_eq!(team::members(&database.primary, consumer).await.expect("a list").len(), 1);
    accept(&database, &[1; 32], Accepting::Known(bob)).await.expect("it was not used up");
}

#[tokio::test]
async fn a_second_invitation_to_the_same_person_and_team_takes_the_place_of_the_first() {
    let (database, consumer) = with_team().await;
    database.member("eve").await;
    let other = consumer::by_name(&database.primary, "eve").await.expect("it is there").id;
    let email = "bob@example.com";
    let first = invite(&database, to_team(&[1; 32], email, consumer, TeamRole::Owner)).await;
    invite(&database, to_team(&[2; 32], email, other, TeamRole::Viewer)).await;
    invite(&database, to_console(&[3; 32], email, "admin")).await;

    let second = invite(&database, to_team(&[4; 32], email, consumer, TeamRole::Viewer)).await;
    invite(&database, to_console(&[5; 32], email, "viewer")).await;

    let found = join_all([[1; 32], [2; 32], [3; 32], [4; 32], [5; 32]].map(|digest: [u8; 32]| {
        let primary = &database.primary;
        async move { invitation::find(primary, &digest).await.expect("an answer").is_some() }
    }))
    .await;
    assert_eq!(found, [false, true, false, true, true], "links of replaced ones lead nowhere; others stay");
    assert_ne!(first.id, second.id);
    let listed = invitation::of_team(&database.primary, consumer).await.expect("a list");
    assert_eq!((listed.len(), listed[0].id, listed[0].team_role), (1, second.id, Some(TeamRole::Viewer)));
}

#[tokio::test]
async fn an_invitation_is_withdrawn_by_its_own_team_alone() {
    let (database, consumer) = with_team().await;
    database.member("eve").await;
    let other = consumer::by_name(&database.primary, "eve").await.expect("it is there").id;
    let made = invite(&database, to_team(&[1; 32], "bob@example.com", consumer, TeamRole::Owner)).await;

    let foreign = invitation::withdraw(&database.primary, other, made.id).await;
    let still = invitation::find(&database.primary, &[1; 32]).await.expect("an answer");
    invitation::withdraw(&database.primary, consumer, made.id).await.expect("withdrawn");
    let again = invitation::withdraw(&database.primary, consumer, made.id).await;

    assert!(is_gone(&foreign) && is_gone(&again), "{foreign:?} {again:?}");
    assert!(still.is_some());
    assert!(is_gone(&accept(&database, &[1; 32], SOMEBODY).await));
}

#[tokio::test]
async fn what_leads_nowhere_is_no_invitation_and_old_ones_go() {
    let (database, consumer) = with_team().await;
    let nowhere = NewInvitation { digest: &[1; 32], email: "bob@example.com", team: None, role: None, expires_at: LATER };
    let stranger = to_team(&[1; 32], "bob@example.com", ConsumerId::new(uuid::Uuid::nil()), TeamRole::Viewer);

    let refused = [nowhere, to_console(&[1; 32], "bob@example.com", "root"), to_console(&[1; 32], "Bob@example.com", "viewer")];
    for new in refused {
        let result = invitation::create(&database.primary, new, &operator()).await;
        assert!(matches!(result, Err(StoreError::Invalid { .. })), "{result:?}");
    }
    let missing = invitation::create(&database.primary, stranger, &operator()).await;
    assert!(matches!(missing, Err(StoreError::NotFound { what: "consumer", .. })), "{missing:?}");
    let old = NewInvitation { expires_at: UtcMicros(1), ..to_team(&[1; 32], "old@example.com", consumer, TeamRole::Viewer) };
    invite(&database, old).await;
    invite(&database, to_team(&[2; 32], "new@example.com", consumer, TeamRole::Viewer)).await;

    let left = database.texts("select email from account_invitation").await;

    assert_eq!(left, ["new@example.com"]);
}
