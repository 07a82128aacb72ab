//! Keys of other systems, taken over by their hashes: many in one transaction, each once.

use std::collections::{HashMap, HashSet};

use model::{
    change::{AuthorityChange, Environment, KeyRow, KeyState, SecretRow},
    id::ApplicationId,
    key::{Digest, KeyId, Peppers, foreign::ForeignHash},
    restriction::Restrictions,
    time::UtcMicros,
};
use serde::Serialize;
use sqlx::{PgConnection, query_file, query_file_scalar};

use super::missing_application;
use crate::{
    actor::Actor,
    error::StoreError,
    pool::Primary,
    wire,
    write::{ControlWrite, Lanes, Written},
};

/// What stands for the end of a text that is not known.
const UNKNOWN_END: &str = "????";

/// Keys of one import that one transaction takes. They cost it six statements, and nodes a row each.
pub const BATCH_MAX: usize = 1_000;

/// A key of another system; the caller has checked the texts.
#[derive(Debug, Clone)]
pub struct ForeignKey {
    /// What it is called there.
    pub source: String,
    /// What its owner calls it.
    pub name: String,
    /// The hash that is kept there.
    pub hash: ForeignHash,
    /// Its own scopes; the application's when absent, none when empty.
    pub scopes: Option<Vec<String>>,
    /// Whether it may be used.
    pub state: KeyState,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
}

/// Keys that are taken over together.
#[derive(Debug, Clone, Copy)]
pub struct Import<'a> {
    /// Who holds them.
    pub application: ApplicationId,
    /// The system that has issued them, as the operator calls it.
    pub system: &'a str,
    /// For which traffic they are.
    pub environment: Environment,
    /// The keys, at most [`BATCH_MAX`], with the ids that were drawn for them.
    pub keys: &'a [(KeyId, ForeignKey)],
    /// What is done in the end.
    pub mode: Mode,
}

/// Whether an import is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    Commit,
    /// It is only said what would be.
    DryRun,
}

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It was taken over now.
    Now(KeyId),
    /// An earlier import has taken it over.
    Before(KeyId),
    /// The same, and then it had another hash.
    Differs(KeyId),
    /// Another key answers to the same text.
    Taken,
}

/// What a key's text ends with, as far as it is known.
pub(super) fn known_end(stored: String) -> String {
    if stored == UNKNOWN_END { String::new() } else { stored }
}

/// Takes keys over. What a call before has done stays as it is now, revoked keys too, so that a call can be repeated.
///
/// # Errors
/// [`StoreError::NotFound`] without such an application; [`StoreError::Conflict`] with `api_key_pk` when a random id is taken (draw again);
/// [`StoreError::PepperMissing`] when what finds a stored key, revoked ones too, is under a pepper that is not among `peppers`.
pub async fn import(primary: &Primary, import: Import<'_>, peppers: &Peppers, actor: &Actor) -> Result<Written<Vec<Imported>>, StoreError> {
    if import.keys.len() > BATCH_MAX {
        return Err(StoreError::invalid("too many keys at once"));
    }
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let seen = Seen::read(&mut write.tx, import, peppers).await?;
    let Judged { outcomes, new } = seen.judge(import.keys, peppers)?;
    insert(&mut write, import, &new, peppers, actor).await?;
    let revisions = match import.mode {
        Mode::Commit => write.commit().await?,
        Mode::DryRun => {
            let revisions = write.heads().await?;
            write.rollback().await?;
            revisions
        }
    };
    Ok(Written { item: outcomes, revisions })
}

/// A key that is new.
#[derive(Debug)]
struct New<'k> {
    id: KeyId,
    key: &'k ForeignKey,
    /// What will find it.
    lookup: Digest,
}

/// What becomes of each key.
#[derive(Debug)]
struct Judged<'k> {
    /// In their order.
    outcomes: Vec<Imported>,
    /// Those that are new.
    new: Vec<New<'k>>,
}

/// What is there already, under the lock on the lane.
#[derive(Debug)]
struct Seen {
    /// Keys of the same sources.
    before: HashMap<String, (KeyId, [u8; 32])>,
    /// What finds keys, whatever their sources.
    taken: HashSet<[u8; 32]>,
    /// The layers that occur.
    layers: Vec<Vec<u16>>,
}

impl Seen {
    async fn read(connection: &mut PgConnection, import: Import<'_>, peppers: &Peppers) -> Result<Self, StoreError> {
        let stored = query_file_scalar!("queries/api_key/import_layers.sql").fetch_all(&mut *connection).await?;
        let mut layers: Vec<Vec<u16>> =
            stored.iter().map(|layers| versions(layers)).collect::<Result<_, _>>()?;
        // Without one of them, a text that is there already, of a revoked key perhaps, would pass for new.
        if let Some(version) = layers.iter().flatten().copied().find(|version| !peppers.has(*version)) {
            return Err(StoreError::PepperMissing { version });
        }
        layers.retain(|layers| *layers != [peppers.current()]);
        layers.push(vec![peppers.current()]);
        let sources: Vec<_> = import.keys.iter().map(|(_, key)| key.source.clone()).collect();
        let known = query_file!("queries/api_key/import_known.sql", import.application.uuid(), import.system, &sources);
        let mut before = HashMap::new();
        for row in known.fetch_all(&mut *connection).await? {
            let id = KeyId::parse(&row.id).ok_or_else(|| wire::corrupt("key id", row.id))?;
            before.insert(row.source, (id, digest(row.lookup)?));
        }
        let places =
            |key: &ForeignKey| layers.iter().filter_map(|layers| peppers.lookup(layers, &key.hash)).map(|digest| digest.0.to_vec()).collect();
        let wanted: Vec<Vec<u8>> = import.keys.iter().flat_map(|(_, key)| -> Vec<Vec<u8>> { places(key) }).collect();
        let taken = query_file_scalar!("queries/api_key/import_taken.sql", &wanted).fetch_all(connection).await?;
        Ok(Self { before, taken: taken.into_iter().map(digest).collect::<Result<_, _>>()?, layers })
    }

    /// Holds each against what is there, and against those before it.
    fn judge<'k>(mut self, keys: &'k [(KeyId, ForeignKey)], peppers: &Peppers) -> Result<Judged<'k>, StoreError> {
        let mut new = Vec::new();
        let mut outcomes = Vec::with_capacity(keys.len());
        for (id, key) in keys {
            let places: Vec<Digest> = self.layers.iter().filter_map(|layers| peppers.lookup(layers, &key.hash)).collect();
            outcomes.push(match self.before.get(&key.source) {
                Some((before, place)) if places.iter().any(|digest| digest.0 == *place) => Imported::Before(*before),
                Some((before, _)) => Imported::Differs(*before),
                None if places.iter().any(|digest| self.taken.contains(&digest.0)) => Imported::Taken,
                None => {
                    // The last of the layers is the current pepper alone.
                    let place = places.last().copied().ok_or_else(|| StoreError::invalid("the current pepper is not loaded"))?;
                    self.taken.insert(place.0);
                    self.before.insert(key.source.clone(), (*id, place.0));
                    new.push(New { id: *id, key, lookup: place });
                    Imported::Now(*id)
                }
            });
        }
        Ok(Judged { outcomes, new })
    }
}

/// One row of the statement.
#[derive(Debug, Serialize)]
struct NewRow<'k> {
    id: KeyId,
    secret: SecretRow,
    name: &'k str,
    scopes: Option<&'k [String]>,
    state: KeyState,
    expires_at: String,
    source: &'k str,
    lookup: SecretRow,
}

async fn insert(write: &mut ControlWrite, import: Import<'_>, new: &[New<'_>], peppers: &Peppers, actor: &Actor) -> Result<(), StoreError> {
    if new.is_empty() {
        return Ok(());
    }
    let version = peppers.current();
    let mut rows = Vec::with_capacity(new.len());
    for New { id, key, lookup } in new {
        let digest = peppers.digest_foreign(version, id, &key.hash).ok_or_else(|| StoreError::invalid("the current pepper is not loaded"))?;
        let secret = |digest: &Digest| SecretRow { digest: digest.0, peppers: vec![version] };
        rows.push(NewRow {
            id: *id,
            secret: secret(&digest),
            name: &key.name,
            scopes: key.scopes.as_deref(),
            state: key.state,
            expires_at: key.expires_at.to_string(),
            source: &key.source,
            lookup: secret(lookup),
        });
        write.authority(&AuthorityChange::Key(Box::new(KeyRow {
            id: *id,
            application: import.application,
            environment: import.environment,
            secret: secret(&digest),
            secret_number: 1,
            lookup: Some(secret(lookup)),
            previous: None,
            scopes: key.scopes.clone(),
            plan: None,
            restrictions: Restrictions::default(),
            state: key.state,
            expires_at: key.expires_at,
        })))?;
    }
    let rows = serde_json::to_value(rows).map_err(|error| wire::corrupt("imported keys", error.to_string()))?;
    query_file!(
        "queries/api_key/import_insert.sql",
        i32::from(version),
        import.application.uuid(),
        import.environment.purpose().prefix(),
        actor.to_string(),
        import.system,
        rows
    )
    .execute(&mut *write.tx)
    .await
    .map_err(|error| missing_application(error, import.application))?;
    Ok(())
}

fn versions(layers: &[i32]) -> Result<Vec<u16>, StoreError> {
    let versions = layers.iter().map(|version| u16::try_from(*version)).collect::<Result<_, _>>();
    versions.map_err(|_| wire::corrupt("imported key", "its pepper version is out of range"))
}

fn digest(bytes: Vec<u8>) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| wire::corrupt("imported key", "what finds it has not 32 bytes"))
}
