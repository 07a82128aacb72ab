use model::{
    change::{Environment, KeyState},
    id::ApplicationId,
    key::{
        KeyId, Peppers, Which,
        foreign::bcrypt::{BcryptHash, Prefix, Proved},
    },
    time::UtcMicros,
};

use super::{
    fixture::{Database, LATER, document, operator, peppers},
    foreign::{self, authority, found, hash, heard_is_loaded, id, import_from, newer},
};
use crate::{
    application::{self, NewApplication},
    consumer::{self, NewConsumer},
    error::StoreError,
    key::{
        self, KeyFilter, RevokedReason,
        import::{ForeignKey, Hashed, Import, Imported, Mode, import},
        life::{self, Roll, WhileRolling},
        pepper,
        prove::{Outcome, prove},
    },
    page::PageRequest,
    revision::heads,
};

/// Of the text `abc`, with two salts (crypt(3) made them).
const OF_ABC: &str = "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i";
const OF_ABC_TOO: &str = "$2b$04$abcdefghijklmnopqrstuuCi15uRb1eH7NAlJ/TgeJertyknQpYn2";
const ROLLED_AT: UtcMicros = UtcMicros(1_000);

/// A hash of its own for each number: what it is the hash of, nobody knows.
fn numbered(n: usize) -> String {
    format!("$2b$04$abcdefghijklmnopqrstuu{:.<31}", format!("n{n:03}"))
}

fn waits(source: &str, prefix: &str, hash: &str) -> ForeignKey {
    let hashed = Hashed::Bcrypt(Prefix::parse(prefix).expect("it has the form"), BcryptHash::parse(hash).expect("it has the form"));
    ForeignKey { source: source.to_owned(), name: source.to_owned(), hashed, scopes: None, state: KeyState::Active, expires_at: LATER }
}

async fn imported(database: &Database, application: ApplicationId, keys: &[ForeignKey], first: usize) -> Vec<Imported> {
    import_from(database, application, keys.iter().cloned(), first, Mode::Commit).await.expect("it is done")
}

/// Which keys wait for a text that begins like this.
async fn waiting(database: &Database, text: &str) -> Vec<KeyId> {
    let (authority, text) = (authority(database).await, foreign::text(text));
    let mut ids: Vec<_> = authority.waiting.iter().flat_map(|waiting| waiting.find(&text)).collect();
    ids.sort_unstable();
    ids
}

fn shown(peppers: &Peppers, n: usize, text: &str) -> Proved {
    peppers.proved(1, &id(n), &hash(text)).expect("the pepper is loaded")
}

async fn told(database: &Database, proved: &Proved) -> Result<Outcome, StoreError> {
    prove(&database.primary, proved, &operator()).await
}

async fn with_key() -> (Database, ApplicationId) {
    let database = Database::new().await;
    let (_, application) = database.with_application().await;
    assert_eq!(imported(&database, application, &[waits("a", "prefix", OF_ABC)], 0).await, [Imported::Now(id(0))]);
    (database, application)
}

#[tokio::test]
async fn a_hash_is_taken_over_once_whatever_is_called_again() {
    let (database, application) = with_key().await;

    let keys = [
        waits("a", "prefix", &OF_ABC.replace("$2a$", "$2y$")),
        waits("b", "prefix", OF_ABC),
        waits("a", "prefix", OF_ABC_TOO),
        waits("c", "prefix", OF_ABC_TOO),
        waits("d", "another", OF_ABC_TOO),
    ];
    let again = imported(&database, application, &keys, 10).await;

    let expected = [Imported::Before(id(0)), Imported::Taken, Imported::Differs(id(0)), Imported::Now(id(13)), Imported::Taken];
    assert_eq!(again, expected, "the same hash under another mark is the same");
    assert_eq!(waiting(&database, "prefix-x").await, [id(0), id(13)]);
    assert_eq!(found(&database, &peppers(), "abc").await, None);
    let held = "select (select count(*) from api_key k where k::text like '%If6bvum7%') + (select count(*) from control_log l where l::text like '%If6bvum7%')";
    assert_eq!(database.number(held).await, 0, "the database holds the hash in clear");
    let key = authority(&database).await.keys.get(&id(0)).expect("it is there").clone();
    let sealed = key.bcrypt().expect("it waits");
    let hash = peppers().open_bcrypt(sealed.pepper, &id(0), &sealed.sealed).expect("it opens");
    assert!(hash.verify(&foreign::text("abc")));
}

#[tokio::test]
async fn what_nodes_hear_of_a_key_is_what_they_load_before_and_after_its_text_was_shown() {
    let (database, _) = with_key().await;
    for _ in 0..2 {
        heard_is_loaded(&database).await;
        told(&database, &shown(&peppers(), 0, "abc")).await.expect("it is told");
    }
}

#[tokio::test]
async fn few_keys_wait_for_texts_that_could_begin_alike_and_one_that_was_shown_makes_room() {
    let (database, application) = with_key().await;
    let more = |prefix: &'static str, n: usize| waits(&format!("k{n}"), prefix, &numbered(n));

    let first = imported(&database, application, &[more("prefix", 1), more("prefix-longer", 2), more("prefix-l", 3), more("prefix", 4)], 10).await;
    assert_eq!(first, [Imported::Now(id(10)), Imported::Now(id(11)), Imported::Now(id(12)), Imported::Crowded], "in one batch");
    let crowded = imported(&database, application, &[more("prefix", 5), more("prefix-o", 6), more("prefiy", 7), more("prefix-longest", 8)], 20).await;
    assert_eq!(crowded[..3], [Imported::Crowded, Imported::Now(id(21)), Imported::Now(id(22))], "with what was there; `prefix-o` meets two");
    assert_eq!(crowded[3], Imported::Now(id(23)), "it meets three");
    assert_eq!(imported(&database, application, &[more("prefix-longest-one", 9)], 30).await, [Imported::Crowded]);

    assert_eq!(told(&database, &shown(&peppers(), 0, "abc")).await.expect("it is told"), Outcome::Now);
    key::revoke(&database.primary, &id(12), RevokedReason::Asked, &operator()).await.expect("it is revoked");
    assert_eq!(imported(&database, application, &[more("prefix-longest-one", 9)], 40).await, [Imported::Now(id(40))]);
}

/// A route verifies a text against the keys of its own tenant, so those of others crowd nobody out.
#[tokio::test]
async fn keys_of_another_tenant_take_no_place_whatever_they_begin_with() {
    let (database, here) = with_key().await;
    database.apply(&document("tenants: [{ name: acme, hosts: [api.example.com] }, { name: rival, hosts: [rival.example.com] }]")).await;
    let mut applications = Vec::new();
    for (name, tenant) in [("sibling", "acme"), ("stranger", "rival")] {
        let new = NewConsumer { name, tenant: Some(tenant), residency: None };
        let consumer = consumer::create(&database.primary, new, &operator()).await.expect("a consumer is made").item.id;
        let new = NewApplication { name, consumer, plan: None, scopes: &[], at_most: None };
        applications.push(application::create(&database.primary, new, &operator()).await.expect("an application is made").item.id);
    }
    let [sibling, stranger] = applications[..] else { panic!("two") };
    let four =
        |first: usize| -> Vec<_> { (first..first + 4).map(|n| waits(&format!("k{n}"), ["prefix", "prefix-longer"][n % 2], &numbered(n))).collect() };

    let there = imported(&database, stranger, &four(1), 10).await;
    assert_eq!(there, [10, 11, 12, 13].map(|n| Imported::Now(id(n))), "one waits in the other tenant");
    let more = [waits("k5", "prefix", &numbered(5)), waits("k6", "prefix-lo", &numbered(6)), waits("k7", "prefiy", &numbered(7))];
    assert_eq!(imported(&database, stranger, &more, 20).await, [Imported::Crowded, Imported::Crowded, Imported::Now(id(22))]);
    let three: Vec<_> = four(11).into_iter().take(3).collect();
    assert_eq!(imported(&database, sibling, &three, 30).await, [30, 31, 32].map(|n| Imported::Now(id(n))), "three beside the one of the tenant");
    let last = [waits("k20", "prefix", &numbered(20))];
    assert_eq!(imported(&database, here, &last, 40).await, [Imported::Crowded], "another application of the same tenant counts");
    assert_eq!(waiting(&database, "prefix-longer").await.len(), 8);
}

#[tokio::test]
async fn lists_say_which_keys_wait_for_their_first_use() {
    let (database, application) = with_key().await;
    let mut sha256 = waits("b", "prefix", OF_ABC_TOO);
    sha256.hashed = Hashed::Sha256(hash("other"));
    imported(&database, application, &[sha256, waits("c", "prefix", OF_ABC_TOO)], 1).await;
    let listed = async || -> Vec<(String, bool)> {
        let (filter, page) = (KeyFilter::default(), PageRequest { limit: 10, cursor: None });
        let all = key::list(&database.primary, &filter, &page).await.expect("they are listed").items;
        for key in &all {
            assert_eq!(key::get(&database.primary, &key.id).await.expect("it is there").imported, key.imported);
        }
        let mut told: Vec<_> = all.into_iter().filter_map(|key| key.imported).map(|key| (key.source, key.awaits_first_use)).collect();
        told.sort_unstable();
        told
    };
    let told_as = |a, c| [("a".to_owned(), a), ("b".to_owned(), false), ("c".to_owned(), c)];

    assert_eq!(listed().await, told_as(true, true));
    told(&database, &shown(&peppers(), 0, "abc")).await.expect("it is told");
    assert_eq!(listed().await, told_as(false, true));
    key::revoke(&database.primary, &id(2), RevokedReason::Asked, &operator()).await.expect("it is revoked");
    assert_eq!(listed().await, told_as(false, false), "nobody waits for a key that is revoked");

    imported(&database, application, &[waits("d", "prefix", &numbered(4))], 4).await;
    let is_waiting = async || listed().await.pop() == Some(("d".to_owned(), true));
    assert!(is_waiting().await);
    let roll = async |random, overlap_until, while_rolling| {
        let issued = model::key::reissue(model::key::Purpose::Live, id(4), &peppers(), &[random; 32]).expect("the pepper is loaded");
        let roll = Roll { issued: &issued, overlap_until, while_rolling, now: UtcMicros(0) };
        life::roll(&database.primary, &id(4), roll, &operator()).await.expect("it is rolled");
    };
    roll(7, Some(LATER), WhileRolling::Refuse).await;
    assert!(is_waiting().await, "in the overlap");
    roll(8, Some(LATER), WhileRolling::ReplacePresent).await;
    assert!(is_waiting().await, "beside another new secret");
    life::end_overlap(&database.primary, &id(4), &operator()).await.expect("it is ended");
    assert!(!is_waiting().await, "its text is not taken any more");
}

#[tokio::test]
async fn a_text_that_was_shown_finds_its_key_from_then_on_and_the_hash_is_gone() {
    let (database, application) = with_key().await;

    assert_eq!(told(&database, &shown(&peppers(), 0, "abc")).await.expect("it is told"), Outcome::Now);
    let before = heads(&database.primary).await.expect("there are heads");
    assert_eq!(told(&database, &shown(&peppers(), 0, "other")).await.expect("once more"), Outcome::Nothing, "another text changes nothing now");
    assert_eq!(told(&database, &shown(&peppers(), 9, "abc")).await.expect("of no key"), Outcome::Nothing);
    assert_eq!(heads(&database.primary).await.expect("there are heads"), before);

    assert_eq!(found(&database, &peppers(), "abc").await, Some((id(0), Some(Which::Present))));
    assert_eq!(waiting(&database, "prefix-x").await, []);
    assert_eq!(database.number("select count(*) from api_key where import_sealed is not null or import_prefix is not null").await, 0);
    let again = imported(&database, application, &[waits("a", "prefix", OF_ABC), waits("b", "prefix", OF_ABC)], 10).await;
    assert_eq!(again, [Imported::Before(id(0)), Imported::Taken], "it is known again without the hash");
    let mut sha256 = waits("a", "prefix", OF_ABC);
    sha256.hashed = Hashed::Sha256(hash("abc"));
    assert_eq!(imported(&database, application, &[sha256], 20).await, [Imported::Before(id(0))], "and by the other hash of the same text");
}

/// Two keys of one text: the second stays as it is, and the first answers.
#[tokio::test]
async fn a_text_answers_for_one_key_alone() {
    let (database, application) = with_key().await;
    assert_eq!(imported(&database, application, &[waits("b", "prefix", OF_ABC_TOO)], 1).await, [Imported::Now(id(1))]);

    told(&database, &shown(&peppers(), 0, "abc")).await.expect("it is told");
    let second = told(&database, &shown(&peppers(), 1, "abc")).await;

    assert!(matches!(&second, Err(StoreError::Conflict { constraint, .. }) if constraint == "api_key_import_lookup_unique"), "{second:?}");
    assert_eq!(found(&database, &peppers(), "abc").await, Some((id(0), Some(Which::Present))));
}

#[tokio::test]
async fn a_key_that_was_rolled_before_takes_its_text_for_the_overlap_and_not_after_it() {
    for replaced in [false, true] {
        let (database, _) = with_key().await;
        let roll = async |random, while_rolling| {
            let issued = model::key::reissue(model::key::Purpose::Live, id(0), &peppers(), &[random; 32]).expect("the pepper is loaded");
            let roll = Roll { issued: &issued, overlap_until: Some(ROLLED_AT), while_rolling, now: UtcMicros(0) };
            life::roll(&database.primary, &id(0), roll, &operator()).await.expect("it is rolled");
        };
        roll(7, WhileRolling::Refuse).await;
        if replaced {
            roll(8, WhileRolling::ReplacePresent).await;
        }

        assert_eq!(told(&database, &shown(&peppers(), 0, "abc")).await.expect("it is told"), Outcome::Now);
        assert_eq!(found(&database, &peppers(), "abc").await, Some((id(0), Some(Which::Previous))));
        let key = authority(&database).await.keys.get(&id(0)).expect("it is there").clone();
        assert_eq!((key.number_of(Which::Previous), key.valid_until(1, UtcMicros(0))), (Some(1), Some(ROLLED_AT)));
        life::end_overlap(&database.primary, &id(0), &operator()).await.expect("it is ended");
        assert_eq!(found(&database, &peppers(), "abc").await, Some((id(0), None)));
    }
    let (database, _) = with_key().await;
    let issued = model::key::reissue(model::key::Purpose::Live, id(0), &peppers(), &[7; 32]).expect("the pepper is loaded");
    let roll = Roll { issued: &issued, overlap_until: None, while_rolling: WhileRolling::Refuse, now: UtcMicros(0) };
    life::roll(&database.primary, &id(0), roll, &operator()).await.expect("it is rolled");
    assert_eq!(told(&database, &shown(&peppers(), 0, "abc")).await.expect("it is told"), Outcome::Nothing, "its first secret has ended");
    assert_eq!(found(&database, &peppers(), "abc").await, None);
}

#[tokio::test]
async fn a_revoked_key_holds_no_hash_takes_no_text_and_does_not_come_back() {
    let (database, application) = with_key().await;

    key::revoke(&database.primary, &id(0), RevokedReason::Leaked, &operator()).await.expect("it is revoked");

    assert_eq!(told(&database, &shown(&peppers(), 0, "abc")).await.expect("it is told"), Outcome::Nothing);
    assert_eq!((waiting(&database, "prefix-x").await, found(&database, &peppers(), "abc").await), (vec![], None));
    assert_eq!(database.number("select count(*) from api_key where import_sealed is not null").await, 0);
    let again = imported(&database, application, &[waits("a", "prefix", OF_ABC), waits("b", "prefix", OF_ABC)], 10).await;
    assert_eq!(again, [Imported::Before(id(0)), Imported::Taken]);

    // A node of the version before revokes without a word about the hash.
    assert_eq!(imported(&database, application, &[waits("c", "prefix", OF_ABC_TOO)], 20).await, [Imported::Now(id(20))]);
    database
        .run("update api_key set state = 'revoked', revoked_at = now(), revoked_by = 'cli:x', revoked_reason = 'asked' where state = 'active'")
        .await;
    assert_eq!(told(&database, &shown(&peppers(), 20, "abc")).await.expect("it is told"), Outcome::Nothing);
    assert_eq!(waiting(&database, "prefix-x").await, []);
}

#[tokio::test]
async fn a_new_pepper_seals_what_waits_anew_and_an_import_needs_the_one_of_the_marks() {
    let (database, application) = with_key().await;
    let [both, second] = newer();
    let without = pepper::rotate(&database.primary, &second, None, &operator()).await;
    assert!(matches!(without, Err(StoreError::PepperMissing { version: 1 })), "{without:?}");

    let batch = pepper::rotate(&database.primary, &both, None, &operator()).await.expect("it is rotated");
    let again = pepper::rotate(&database.primary, &both, None, &operator()).await.expect("once more");

    assert_eq!((batch.rotated, again.rotated), (1, 0));
    let key = authority(&database).await.keys.get(&id(0)).expect("it is there").clone();
    let sealed = key.bcrypt().expect("it waits");
    assert_eq!((sealed.pepper, second.open_bcrypt(2, &id(0), &sealed.sealed)), (2, BcryptHash::parse(OF_ABC).ok()));
    let keys = [(id(10), waits("a", "prefix", OF_ABC)), (id(11), waits("b", "prefix", OF_ABC))];
    let batch = Import { application, system: "kong", environment: Environment::Live, keys: &keys, mode: Mode::Commit };
    let refused = import(&database.primary, batch, &second, &operator()).await;
    assert!(matches!(refused, Err(StoreError::PepperMissing { version: 1 })), "{refused:?}");
    let outcomes = import(&database.primary, batch, &both, &operator()).await.expect("it is done").item;
    assert_eq!(outcomes, [Imported::Before(id(0)), Imported::Taken]);
    let proved = second.proved(2, &id(0), &hash("abc")).expect("the pepper is loaded");
    assert_eq!(told(&database, &proved).await.expect("it is told"), Outcome::Now);
    assert_eq!(found(&database, &second, "abc").await, Some((id(0), Some(Which::Present))), "the new pepper is enough");
}
