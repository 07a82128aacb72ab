//! Keys of another system, as the tests of their import and of bcrypt share them.

use model::{
    authority::Authority,
    change::Environment,
    id::ApplicationId,
    key::{
        KeyId, Peppers, Which,
        foreign::{Foreign, ForeignHash},
    },
    secret::SecretKey,
    time::UtcMicros,
};

use super::fixture::{Database, operator, peppers};
use crate::{
    error::StoreError,
    key::import::{ForeignKey, Import, Imported, Mode, import},
    revision::full,
};

pub(super) fn text(text: &str) -> Foreign<'_> {
    Foreign::parse(text).expect("it has the form")
}

pub(super) fn hash(of: &str) -> ForeignHash {
    text(of).hash()
}

pub(super) fn id(n: usize) -> KeyId {
    KeyId::parse(&format!("import{n:06}")).expect("it has the form")
}

/// The pepper of the fixture and a newer one; and the newer one alone.
pub(super) fn newer() -> [Peppers; 2] {
    let (first, second) = ((1, SecretKey::new([3; 32])), || (2, SecretKey::new([9; 32])));
    [Peppers::new([first, second()]).expect("there are peppers"), Peppers::new([second()]).expect("there is one")]
}

/// Imports these under ids that begin at `first`.
pub(super) async fn import_from(
    database: &Database,
    application: ApplicationId,
    keys: impl IntoIterator<Item = ForeignKey>,
    first: usize,
    mode: Mode,
) -> Result<Vec<Imported>, StoreError> {
    let keys: Vec<_> = (first..).map(id).zip(keys).collect();
    let batch = Import { application, system: "kong", environment: Environment::Live, keys: &keys, mode };
    import(&database.primary, batch, &peppers(), &operator()).await.map(|written| written.item)
}

/// What a node loads.
pub(super) async fn authority(database: &Database) -> Authority {
    let load = full(&database.primary).await.expect("it loads");
    Authority::from_rows(load.consumers, load.applications, load.keys, load.denials)
}

/// Which key a node finds by a text, and with which of its secrets.
pub(super) async fn found(database: &Database, peppers: &Peppers, text: &str) -> Option<(KeyId, Option<Which>)> {
    let (authority, hash) = (authority(database).await, hash(text));
    let id = authority.imported.as_ref()?.find(peppers, &hash)?;
    let key = authority.keys.get(&id).expect("it is there");
    Some((id, peppers.which_foreign(Some(&id), &hash, Some(&key.secret), key.previous(UtcMicros(0)))))
}

/// Holds what nodes hear of the newest key against what they load of it.
pub(super) async fn heard_is_loaded(database: &Database) {
    let load = full(&database.primary).await.expect("it loads");
    let loaded = serde_json::to_value(&load.keys[0]).expect("it is written");
    let logged = database.texts("select body::text from control_log where kind = 'key' order by rev desc limit 1").await;
    let mut logged: serde_json::Value = serde_json::from_str(&logged[0]).expect("it is JSON");
    logged.as_object_mut().expect("an object").remove("kind");
    assert_eq!(logged, loaded);
}
