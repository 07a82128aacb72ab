use model::{
    change::{Environment, KeyState},
    id::ApplicationId,
    key::{Which, foreign::ForeignHash},
    time::UtcMicros,
};

use super::{
    fixture::{Database, LATER, operator, peppers},
    foreign::{found, hash, heard_is_loaded, id, import_from, newer},
};
use crate::{
    error::StoreError,
    key::{
        self, RevokedReason,
        import::{BATCH_MAX, ForeignKey, Hashed, Import, Imported, Mode, import},
        life::{self, Roll, WhileRolling},
        pepper,
    },
    revision::heads,
};

fn foreign(source: &str, text: &str) -> ForeignKey {
    let scopes = Some(vec!["read".to_owned()]);
    ForeignKey {
        source: source.to_owned(),
        name: format!("name of {source}"),
        hashed: Hashed::Sha256(hash(text)),
        scopes,
        state: KeyState::Active,
        expires_at: LATER,
    }
}

/// Imports these under ids that begin at `first`.
async fn taken_over(
    database: &Database,
    application: ApplicationId,
    keys: &[(&str, &str)],
    first: usize,
    mode: Mode,
) -> Result<Vec<Imported>, StoreError> {
    import_from(database, application, keys.iter().map(|(source, text)| foreign(source, text)), first, mode).await
}

#[tokio::test]
async fn keys_of_another_system_are_taken_over_once_whatever_is_called_again() {
    let database = Database::new().await;
    let (_, application) = database.with_application().await;
    let before = heads(&database.primary).await.expect("there are heads");

    let dry = taken_over(&database, application, &[("a", "text-a"), ("b", "text-b")], 0, Mode::DryRun).await.expect("it is tried");
    assert_eq!(heads(&database.primary).await.expect("there are heads"), before, "a dry run changes nothing");
    assert_eq!(dry, [Imported::Now(id(0)), Imported::Now(id(1))]);
    let keys = [("a", "text-a"), ("b", "text-b"), ("c", "text-a")];
    let first = taken_over(&database, application, &keys, 10, Mode::Commit).await.expect("it is done");
    let again = taken_over(&database, application, &keys, 20, Mode::Commit).await.expect("once more");
    let other = taken_over(&database, application, &[("a", "text-x"), ("d", "text-b")], 30, Mode::Commit).await.expect("and another");

    assert_eq!(first, [Imported::Now(id(10)), Imported::Now(id(11)), Imported::Taken], "two keys with one text are one too many");
    assert_eq!(again, [Imported::Before(id(10)), Imported::Before(id(11)), Imported::Taken]);
    assert_eq!(other, [Imported::Differs(id(10)), Imported::Taken]);
    assert_eq!(database.number("select count(*) from api_key").await, 2);
    assert_eq!(found(&database, &peppers(), "text-a").await, Some((id(10), Some(Which::Present))));
    assert_eq!(found(&database, &peppers(), "text-c").await, None);
    let info = key::get(&database.primary, &id(10)).await.expect("it is there");
    let from = info.imported.as_ref().map(|imported| (imported.system.as_str(), imported.source.as_str()));
    assert_eq!((from, info.last_four.as_str(), info.name.as_str(), info.created_by), (Some(("kong", "a")), "", "name of a", operator().to_string()));
}

#[tokio::test]
async fn what_nodes_hear_of_an_import_is_what_they_load() {
    let database = Database::new().await;
    let (_, application) = database.with_application().await;
    taken_over(&database, application, &[("a", "text-a")], 0, Mode::Commit).await.expect("it is done");

    heard_is_loaded(&database).await;
    let digits = data_digits("text-a");
    let held = "select (select count(*) from api_key k where k::text like '%' || $$DIGITS$$ || '%') + \
                (select count(*) from control_log l where l::text like '%' || $$DIGITS$$ || '%')";
    assert_eq!(database.number(held.replace("DIGITS", &digits)).await, 0, "the database holds the hash");
}

/// The hash in hexadecimal digits, found by its being read back.
fn data_digits(text: &str) -> String {
    let digits = model::key::fingerprint_plain(text.as_bytes()).iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"));
    assert_eq!(ForeignHash::parse(&digits), Some(hash(text)));
    digits
}

#[tokio::test]
async fn an_imported_key_is_rolled_and_revoked_like_any_other_and_stays_so() {
    let database = Database::new().await;
    let (_, application) = database.with_application().await;
    taken_over(&database, application, &[("a", "text-a"), ("b", "text-b")], 0, Mode::Commit).await.expect("it is done");
    let issued = model::key::reissue(model::key::Purpose::Live, id(0), &peppers(), &[7; 32]).expect("the pepper is loaded");
    let roll = Roll { issued: &issued, overlap_until: Some(UtcMicros(1_000)), while_rolling: WhileRolling::Refuse, now: UtcMicros(0) };

    let rolled = life::roll(&database.primary, &id(0), roll, &operator()).await.expect("it is rolled").item;
    assert_eq!((rolled.last_four.as_str(), rolled.previous.map(|previous| previous.last_four)), (issued.last_four(), Some(String::new())));
    assert_eq!(found(&database, &peppers(), "text-a").await, Some((id(0), Some(Which::Previous))));
    life::end_overlap(&database.primary, &id(0), &operator()).await.expect("it is ended");
    assert_eq!(found(&database, &peppers(), "text-a").await, Some((id(0), None)));
    key::revoke(&database.primary, &id(1), RevokedReason::Leaked, &operator()).await.expect("it is revoked");

    let again = taken_over(&database, application, &[("a", "text-a"), ("b", "text-b"), ("c", "text-b")], 10, Mode::Commit).await.expect("tried");
    assert_eq!(again, [Imported::Before(id(0)), Imported::Before(id(1)), Imported::Taken], "a revoked key does not come back");
    assert_eq!(key::get(&database.primary, &id(1)).await.expect("it is there").state, KeyState::Revoked);
    assert_eq!(found(&database, &peppers(), "text-a").await, Some((id(0), None)));
}

#[tokio::test]
async fn a_pepper_rotation_puts_its_layer_around_what_finds_a_key_too() {
    let database = Database::new().await;
    let (_, application) = database.with_application().await;
    taken_over(&database, application, &[("a", "text-a")], 0, Mode::Commit).await.expect("it is done");
    let [both, _] = newer();

    let batch = pepper::rotate(&database.primary, &both, None, &operator()).await.expect("it is rotated");
    let again = pepper::rotate(&database.primary, &both, None, &operator()).await.expect("once more");
    assert_eq!((batch.rotated, again.rotated), (1, 0));
    assert_eq!(found(&database, &both, "text-a").await, Some((id(0), Some(Which::Present))));
    assert_eq!(found(&database, &peppers(), "text-a").await, None, "the new pepper is needed");

    let keys = [(id(10), foreign("a", "text-a")), (id(11), foreign("b", "text-a")), (id(12), foreign("c", "text-c"))];
    let more = Import { application, system: "kong", environment: Environment::Test, keys: &keys, mode: Mode::Commit };
    let outcomes = import(&database.primary, more, &both, &operator()).await.expect("it is done").item;
    assert_eq!(outcomes, [Imported::Before(id(0)), Imported::Taken, Imported::Now(id(12))], "found under every layer that occurs");
    assert_eq!(found(&database, &both, "text-c").await, Some((id(12), Some(Which::Present))));
    assert_eq!(found(&database, &both, "text-a").await, Some((id(0), Some(Which::Present))));
}

/// Without the pepper nobody can say whether a text is there, and one of a revoked key must not come back under another name.
#[tokio::test]
async fn nothing_is_imported_where_a_pepper_of_what_is_stored_is_not_loaded() {
    let database = Database::new().await;
    let (_, application) = database.with_application().await;
    taken_over(&database, application, &[("a", "text-a")], 0, Mode::Commit).await.expect("it is done");
    key::revoke(&database.primary, &id(0), RevokedReason::Leaked, &operator()).await.expect("it is revoked");
    let [both, newer] = newer();
    let keys = [(id(10), foreign("b", "text-a"))];
    let again = Import { application, system: "kong", environment: Environment::Live, keys: &keys, mode: Mode::Commit };
    let before = heads(&database.primary).await.expect("there are heads");

    for mode in [Mode::DryRun, Mode::Commit] {
        let refused = import(&database.primary, Import { mode, ..again }, &newer, &operator()).await;
        assert!(matches!(refused, Err(StoreError::PepperMissing { version: 1 })), "{refused:?}");
    }
    assert_eq!(heads(&database.primary).await.expect("there are heads"), before);
    assert_eq!(database.number("select count(*) from api_key").await, 1);
    let outcomes = import(&database.primary, again, &both, &operator()).await.expect("it is done").item;
    assert_eq!(outcomes, [Imported::Taken]);
}

#[tokio::test]
async fn a_batch_is_bounded_and_wants_an_application_that_exists() {
    let database = Database::new().await;
    let (_, application) = database.with_application().await;
    let texts: Vec<String> = (0..=BATCH_MAX).map(|n| format!("text-{n}")).collect();
    let keys: Vec<_> = texts.iter().map(|text| (text.as_str(), text.as_str())).collect();

    let many = taken_over(&database, application, &keys, 0, Mode::Commit).await;
    assert!(matches!(&many, Err(StoreError::Invalid { .. })), "{many:?}");
    let full = taken_over(&database, application, &keys[..BATCH_MAX], 0, Mode::Commit).await.expect("it is done");
    assert_eq!(full.len(), BATCH_MAX);
    let lost = taken_over(&database, ApplicationId::new(uuid::Uuid::nil()), &[("z", "text-z")], 5_000, Mode::Commit).await;
    assert!(matches!(&lost, Err(StoreError::NotFound { what: "application", .. })), "{lost:?}");
    let nobody = key::list(&database.primary, &key::KeyFilter::default(), &crate::page::PageRequest { limit: 1, cursor: None }).await;
    assert!(nobody.expect("it is listed").items[0].imported.is_some());
}
