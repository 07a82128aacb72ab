use model::{
    certificate::Thumbprint,
    change::KeyState,
    key::{Issued, KeyId, Peppers, Presented, Purpose, Which, reissue},
    restriction::Restrictions,
    secret::SecretKey,
    time::UtcMicros,
};

use super::fixture::{Database, LATER, document, issued, operator, peppers};
use crate::{
    error::StoreError,
    key::{
        self, Call, Created, KeyInfo, NewKey, RevokedReason, decide,
        life::{self, KeyChange, Patch, Roll, WhileRolling},
        pepper,
    },
    revision::{full, heads},
    write::Written,
};

/// When an overlap ends: well before [`LATER`].
const UNTIL: UtcMicros = UtcMicros(4_000_000_000_000_000);

/// A database with one key.
async fn with_key() -> (Database, Issued) {
    let database = Database::new().await;
    let (_, application) = database.with_application().await;
    let issued = issued(Purpose::Live);
    key::create(&database.primary, NewKey::of(&issued, "k", application, LATER), &operator()).await.expect("a key is made");
    (database, issued)
}

fn another(of: &Issued, random: u8) -> Issued {
    reissue(of.purpose, of.id, &peppers(), &[random; 32]).expect("the pepper is loaded")
}

/// A roll now, which is long before [`UNTIL`].
async fn roll(
    database: &Database,
    issued: &Issued,
    overlap_until: Option<UtcMicros>,
    while_rolling: WhileRolling,
) -> Result<Written<KeyInfo>, StoreError> {
    let roll = Roll { issued, overlap_until, while_rolling, now: UtcMicros(UNTIL.0 - 1_000_000) };
    life::roll(&database.primary, &issued.id, roll, &operator()).await
}

/// Which texts a node takes, from the whole load and from the last change alike.
async fn taken(database: &Database, id: KeyId, peppers: &Peppers, texts: &[&Issued], now: UtcMicros) -> Vec<bool> {
    let load = full(&database.primary).await.expect("it loads");
    let row = load.keys.into_iter().find(|row| row.id == id).expect("the key is there");
    let authority = model::authority::Authority::from_rows([], [], [row.clone()], []);
    let key = authority.keys.get(&id).expect("it is there");
    let shown = serde_json::to_value(&row).expect("it is written");
    let logged = database.texts(format!("select body::text from control_log where entity = '{id}' order by rev desc limit 1")).await;
    let mut logged: serde_json::Value = serde_json::from_str(logged.first().expect("it is in the log")).expect("it is JSON");
    logged.as_object_mut().expect("an object").remove("kind");
    assert_eq!(logged, shown, "the change and the whole load differ");
    let is_taken = |issued: &&Issued| {
        let presented = Presented::parse(issued.text.expose_secret()).expect("it has the form");
        peppers.which(&presented, Some(&key.secret), key.previous(now)).is_some()
    };
    texts.iter().map(is_taken).collect()
}

#[tokio::test]
async fn a_roll_keeps_the_secret_before_for_the_overlap_and_never_a_third() {
    let (database, first) = with_key().await;
    let (second, third) = (another(&first, 7), another(&first, 8));

    let rolled = roll(&database, &second, Some(UNTIL), WhileRolling::Refuse).await.expect("it is rolled").item;
    let in_the_way = roll(&database, &third, Some(UNTIL), WhileRolling::Refuse).await;
    assert!(matches!(&in_the_way, Err(StoreError::Conflict { constraint, .. }) if constraint == "key_rolling"), "{in_the_way:?}");
    let during = taken(&database, first.id, &peppers(), &[&first, &second], UtcMicros(UNTIL.0 - 1)).await;
    let after = taken(&database, first.id, &peppers(), &[&first, &second], UNTIL).await;
    roll(&database, &third, Some(UNTIL), WhileRolling::EndPrevious).await.expect("it is rolled again");
    let again = taken(&database, first.id, &peppers(), &[&first, &second, &third], UtcMicros(UNTIL.0 - 1)).await;
    let ended = life::end_overlap(&database.primary, &first.id, &operator()).await.expect("the overlap is ended");
    let last = taken(&database, first.id, &peppers(), &[&first, &second, &third], UtcMicros(UNTIL.0 - 1)).await;
    let twice = life::end_overlap(&database.primary, &first.id, &operator()).await.expect("once more");

    assert_eq!(rolled.previous.as_ref().map(|previous| (previous.last_four.as_str(), previous.until)), Some((first.last_four(), UNTIL)));
    assert_eq!(rolled.last_four, second.last_four());
    assert_eq!(during, [true, true]);
    assert_eq!(after, [false, true]);
    assert_eq!(again, [false, true, true]);
    assert_eq!(last, [false, false, true]);
    assert_eq!((ended.item.previous, twice.revisions), (None, ended.revisions));
}

#[tokio::test]
async fn a_roll_without_overlap_ends_the_secret_before_at_once_and_no_overlap_outlives_the_key() {
    let (database, first) = with_key().await;
    let (second, third) = (another(&first, 7), another(&first, 8));

    roll(&database, &second, None, WhileRolling::Refuse).await.expect("it is rolled");
    let taken = taken(&database, first.id, &peppers(), &[&first, &second], UtcMicros(0)).await;
    let change = KeyChange { expires_at: Some(UNTIL), ..KeyChange::default() };
    life::change(&database.primary, &first.id, change, &operator()).await.expect("it ends sooner");
    let rolled = roll(&database, &third, Some(LATER), WhileRolling::Refuse).await.expect("it is rolled").item;

    assert_eq!(taken, [false, true]);
    assert_eq!(rolled.previous.expect("there is one").until, UNTIL);
}

/// Whoever lost the answer to a roll asks again: what is in use must not end by that.
#[tokio::test]
async fn a_secret_that_nobody_has_seen_is_replaced_beside_the_one_in_use() {
    let (database, first) = with_key().await;
    let (lost, found) = (another(&first, 7), another(&first, 8));
    roll(&database, &lost, Some(UNTIL), WhileRolling::Refuse).await.expect("it is rolled");

    let again = roll(&database, &found, None, WhileRolling::ReplacePresent).await.expect("it is rolled again").item;

    assert_eq!(taken(&database, first.id, &peppers(), &[&first, &lost, &found], UtcMicros(UNTIL.0 - 1)).await, [true, false, true]);
    assert_eq!(again.previous.expect("the overlap goes on").until, UNTIL);
}

/// The numbers of a key's present and previous secret, as a node reads them.
async fn numbers(database: &Database, id: KeyId) -> (Option<u32>, Option<u32>) {
    let load = full(&database.primary).await.expect("it loads");
    let authority = model::authority::Authority::from_rows([], [], load.keys, []);
    let key = authority.keys.get(&id).expect("it is there");
    (key.number_of(Which::Present), key.number_of(Which::Previous))
}

/// What was decided with a secret is decided again by its number: none may pass to another secret, and that of a secret in use stays.
#[tokio::test]
async fn a_secret_that_replaces_another_has_a_number_of_its_own_and_the_one_in_use_keeps_its_own() {
    let (database, first) = with_key().await;
    let next = async |random, overlap_until, while_rolling| {
        roll(&database, &another(&first, random), overlap_until, while_rolling).await.expect("it is rolled");
        numbers(&database, first.id).await
    };

    assert_eq!(numbers(&database, first.id).await, (Some(1), None));
    assert_eq!(next(7, Some(UNTIL), WhileRolling::Refuse).await, (Some(2), Some(1)));
    assert_eq!(next(8, None, WhileRolling::ReplacePresent).await, (Some(3), Some(1)));
    assert_eq!(next(9, None, WhileRolling::ReplacePresent).await, (Some(4), Some(1)));
    let newer = Peppers::new([(1, SecretKey::new([3; 32])), (2, SecretKey::new([9; 32]))]).expect("there are peppers");
    pepper::rotate(&database.primary, &newer, None, &operator()).await.expect("it is rotated");
    assert_eq!(numbers(&database, first.id).await, (Some(4), Some(1)), "a rotation closes nothing");
    assert_eq!(next(10, Some(UNTIL), WhileRolling::EndPrevious).await, (Some(5), Some(4)));
    assert_eq!(next(11, None, WhileRolling::ReplacePresent).await, (Some(6), Some(4)));

    // A node of the version before rolls without a word about numbers: what it does not write counts for nothing.
    database.run("update api_key set secret_number = secret_number + 1, digest = digest").await;
    assert_eq!(numbers(&database, first.id).await, (Some(7), Some(6)));
    life::end_overlap(&database.primary, &first.id, &operator()).await.expect("the overlap is ended");
    assert_eq!(numbers(&database, first.id).await, (Some(7), None));
}

/// Each of two changes at the same time leaves its restriction.
#[tokio::test]
async fn two_changes_at_once_keep_both_restrictions() {
    let (database, key) = with_key().await;
    let change = |change| async { life::change(&database.primary, &key.id, change, &operator()).await.expect("it is changed") };

    for _ in 0..8 {
        let routes = KeyChange { routes: Patch::Set(vec!["orders".into()]), ..KeyChange::default() };
        let methods = KeyChange { methods: Patch::Set(vec!["GET".into()]), ..KeyChange::default() };
        tokio::join!(change(routes), change(methods));
        let bound = key::get(&database.primary, &key.id).await.expect("it is there").restrictions;
        assert!(bound.routes.is_some() && bound.methods.is_some(), "{bound:?}");
        change(KeyChange { routes: Patch::Reset, methods: Patch::Reset, ..KeyChange::default() }).await;
    }
}

#[tokio::test]
async fn what_is_revoked_stays_revoked_whatever_comes_at_the_same_time() {
    for round in 0..8 {
        let (database, first) = with_key().await;
        let second = another(&first, round);
        let (by, id) = (operator(), first.id);
        let roll = roll(&database, &second, Some(UNTIL), WhileRolling::Refuse);
        let revoke = key::revoke(&database.primary, &id, RevokedReason::Leaked, &by);

        let (rolled, revoked) = tokio::join!(roll, revoke);

        revoked.expect("a revocation always takes place");
        let is_conflict = matches!(&rolled, Err(StoreError::Conflict { constraint, .. }) if constraint == "key_state");
        assert!(rolled.is_ok() || is_conflict, "{rolled:?}");
        let info = key::get(&database.primary, &id).await.expect("it is there");
        assert_eq!((info.state, info.previous, info.revoked_reason), (KeyState::Revoked, None, Some(RevokedReason::Leaked)));
        for result in [
            life::set_state(&database.primary, &id, KeyState::Disabled, KeyState::Active, &by).await,
            life::set_state(&database.primary, &id, KeyState::Active, KeyState::Disabled, &by).await,
            decide::approve(&database.primary, &id, &by).await,
            decide::refuse(&database.primary, &id, "no", &by).await,
        ] {
            assert!(matches!(&result, Err(StoreError::Conflict { constraint, .. }) if constraint == "key_state"), "{result:?}");
        }
        let changed = life::change(&database.primary, &id, KeyChange::default(), &by).await;
        assert!(matches!(&changed, Err(StoreError::Conflict { .. })), "{changed:?}");
    }
}

#[tokio::test]
async fn a_key_waits_is_approved_paused_and_goes_on() {
    let database = Database::new().await;
    let (_, application) = database.with_application().await;
    let issued = issued(Purpose::Live);
    let new = NewKey { state: KeyState::Pending, ..NewKey::of(&issued, "k", application, LATER) };
    key::create(&database.primary, new, &operator()).await.expect("a key is made");
    let (primary, id, by) = (&database.primary, issued.id, operator());

    let too_early = roll(&database, &another(&issued, 7), None, WhileRolling::Refuse).await;
    let approved = decide::approve(primary, &id, &by).await.expect("it is approved");
    let twice = decide::approve(primary, &id, &by).await.expect("once more");
    let paused = life::set_state(primary, &id, KeyState::Active, KeyState::Disabled, &by).await.expect("it is paused");
    let approved_again = decide::approve(primary, &id, &by).await;
    let resumed = life::set_state(primary, &id, KeyState::Disabled, KeyState::Active, &by).await.expect("it goes on");

    assert!(matches!(&too_early, Err(StoreError::Conflict { constraint, .. }) if constraint == "key_state"), "{too_early:?}");
    assert_eq!((approved.item.state, paused.item.state, resumed.item.state), (KeyState::Active, KeyState::Disabled, KeyState::Active));
    assert_eq!(twice.revisions, approved.revisions);
    assert!(matches!(&approved_again, Err(StoreError::Conflict { .. })), "a paused key is not approved anew: {approved_again:?}");
    assert_eq!(heads(primary).await.expect("there are heads"), resumed.revisions);
}

#[tokio::test]
async fn a_change_touches_what_it_names_alone() {
    let database = Database::new().await;
    database
        .apply(&document(
            "tenants: [{ name: acme, hosts: [a.example.com] }]\nplans: [{ name: gold }]\nconsumers: [{ name: shop }]\n\
             applications: [{ name: web, consumer: shop }]",
        ))
        .await;
    let application = crate::application::by_name(&database.primary, "web").await.expect("it is there").id;
    let issued = issued(Purpose::Live);
    key::create(&database.primary, NewKey::of(&issued, "k", application, LATER), &operator()).await.expect("a key is made");
    let change = async |change| life::change(&database.primary, &issued.id, change, &operator()).await;
    let bound = Restrictions {
        methods: Some(vec!["GET".into()]),
        addresses: Some(vec!["192.0.2.0/24".parse().expect("a range")]),
        routes: None,
        certificates: Some(vec![Thumbprint([7; 32])]),
    };

    let first = KeyChange {
        plan: Patch::Set("gold".to_owned()),
        methods: Patch::Set(vec!["GET".into()]),
        addresses: Patch::Set(vec!["192.0.2.0/24".parse().expect("a range")]),
        certificates: Patch::Set(vec![Thumbprint([7; 32])]),
        ..KeyChange::default()
    };
    let first = change(first).await.expect("it is changed").item;
    let second =
        change(KeyChange { name: Some("l".to_owned()), scopes: Patch::Set(Vec::new()), ..KeyChange::default() }).await.expect("changed").item;
    let third = change(KeyChange { scopes: Patch::Reset, plan: Patch::Reset, ..KeyChange::default() }).await.expect("it is changed").item;
    let unknown = change(KeyChange { plan: Patch::Set("silver".to_owned()), ..KeyChange::default() }).await;

    assert_eq!((first.plan.as_deref(), &first.restrictions, first.name.as_str(), &first.scopes), (Some("gold"), &bound, "k", &None));
    assert_eq!((second.plan.as_deref(), &second.restrictions, second.name.as_str()), (Some("gold"), &bound, "l"));
    assert_eq!((second.scopes, third.scopes, third.plan), (Some(Vec::new()), None, None));
    assert_eq!(third.restrictions, bound);
    assert!(matches!(&unknown, Err(StoreError::NotFound { what: "plan", .. })), "{unknown:?}");
    assert_eq!(taken(&database, issued.id, &peppers(), &[&issued], UtcMicros(0)).await, [true]);
}

/// draft-ietf-httpapi-idempotency-key-header: the same call makes one key, whoever else calls at the same time.
#[tokio::test]
async fn a_repeated_call_finds_the_key_that_it_made() {
    let database = Database::new().await;
    let (_, application) = database.with_application().await;
    let call = |fingerprint: u8| Some(Call { token: [1; 32], fingerprint: [fingerprint; 32] });
    let drawn: Vec<_> = (0..6).map(|_| issued(Purpose::Live)).collect();
    let (primary, by) = (&database.primary, operator());
    let create = |issued, call| key::create(primary, NewKey { call, ..NewKey::of(issued, "k", application, LATER) }, &by);

    let outcomes = futures_util::future::join_all(drawn.iter().map(|issued| create(issued, call(1)))).await;
    let other = issued(Purpose::Live);
    let different = create(&other, call(2)).await;

    let outcomes: Vec<_> = outcomes.into_iter().map(|outcome| outcome.expect("each call is answered")).collect();
    let made: Vec<_> = outcomes.iter().filter_map(|outcome| if let Created::New(new) = outcome { Some(new.item.id) } else { None }).collect();
    assert_eq!(made.len(), 1, "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| match outcome {
        Created::New(new) => new.item.id == made[0],
        Created::Before(before) => before.id == made[0],
    }));
    assert!(matches!(&different, Err(StoreError::Conflict { constraint, .. }) if constraint == "create_call"), "{different:?}");
    assert_eq!(database.number("select count(*) from api_key").await, 1);
}

#[tokio::test]
async fn a_pepper_rotation_leaves_every_secret_valid_and_can_be_begun_again() {
    let (database, first) = with_key().await;
    let second = another(&first, 7);
    roll(&database, &second, Some(UNTIL), WhileRolling::Refuse).await.expect("it is rolled");
    let rotated = Peppers::new([(1, SecretKey::new([3; 32])), (2, SecretKey::new([9; 32]))]).expect("there are peppers");
    let old = peppers();
    assert_eq!((old.current(), rotated.current()), (1, 2));
    let now = UtcMicros(UNTIL.0 - 1);

    let batch = pepper::rotate(&database.primary, &rotated, None, &operator()).await.expect("it is rotated");
    let again = pepper::rotate(&database.primary, &rotated, None, &operator()).await.expect("once more");

    assert_eq!((batch.rotated, batch.next, again.rotated), (1, None, 0));
    assert_eq!(taken(&database, first.id, &rotated, &[&first, &second], now).await, [true, true]);
    assert_eq!(taken(&database, first.id, &old, &[&first, &second], now).await, [false, false], "the new pepper is needed");
}
