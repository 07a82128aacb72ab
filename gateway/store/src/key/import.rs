//! Keys of other systems, taken over by their hashes: many in one transaction, each once.

use std::collections::{HashMap, HashSet};

use model::{
    change::{AuthorityChange, BcryptRow, Environment, KeyRow, KeyState, SecretRow},
    id::ApplicationId,
    key::{
        KeyId, Peppers,
        foreign::{
            ForeignHash,
            bcrypt::{BcryptHash, Prefix},
        },
    },
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

/// Keys of one import that one transaction takes. They cost it nine statements, and nodes a row each.
pub const BATCH_MAX: usize = 1_000;

/// Keys of one tenant that wait for texts which could begin alike: whoever sends such a text makes a node verify it against each.
pub const SHARING_MAX: usize = 4;

/// A key of another system; the caller has checked the texts.
#[derive(Debug, Clone)]
pub struct ForeignKey {
    /// What it is called there.
    pub source: String,
    /// What its owner calls it.
    pub name: String,
    /// The hash that is kept there.
    pub hashed: Hashed,
    /// Its own scopes; the application's when absent, none when empty.
    pub scopes: Option<Vec<String>>,
    /// Whether it may be used.
    pub state: KeyState,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
}

/// A hash that another system keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hashed {
    /// SHA-256 of the text, which finds the key.
    Sha256(ForeignHash),
    /// bcrypt, with what the text begins with, which finds it until somebody shows the text.
    Bcrypt(Prefix, BcryptHash),
}

impl Hashed {
    const fn prefix(&self) -> Option<&Prefix> {
        match self {
            Self::Sha256(_) => None,
            Self::Bcrypt(prefix, _) => Some(prefix),
        }
    }
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
    /// As many keys of the tenant as may wait for texts that begin like this one's.
    Crowded,
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
    /// What will find it, or know it again.
    trace: Trace,
}

/// What is stored of a hash under a pepper: two digests that are never compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Trace {
    /// What finds a key by its text.
    Lookup([u8; 32]),
    /// By what a bcrypt hash is known again.
    Mark([u8; 32]),
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
    /// Keys of the same sources. One whose text was shown has two.
    before: HashMap<String, (KeyId, Vec<Trace>)>,
    /// Those of all keys, whatever their sources.
    taken: HashSet<Trace>,
    /// The prefixes of keys that wait for their texts, where they could begin the same texts.
    waiting: Vec<Prefix>,
    /// The layers that occur; the last of them is the current pepper alone.
    layers: Vec<Vec<u16>>,
    /// The peppers of marks that occur; the last of them is the current one.
    marks: Vec<u16>,
}

impl Seen {
    async fn read(connection: &mut PgConnection, import: Import<'_>, peppers: &Peppers) -> Result<Self, StoreError> {
        let current = peppers.current();
        let stored = query_file_scalar!("queries/api_key/import_layers.sql").fetch_all(&mut *connection).await?;
        let mut layers: Vec<Vec<u16>> = stored.iter().map(|layers| versions(layers)).collect::<Result<_, _>>()?;
        let mut marks = versions(&query_file_scalar!("queries/api_key/import_mark_peppers.sql").fetch_all(&mut *connection).await?)?;
        // Without one of them, a text that is there already, of a revoked key perhaps, would pass for new.
        if let Some(version) = layers.iter().flatten().chain(&marks).copied().find(|version| !peppers.has(*version)) {
            return Err(StoreError::PepperMissing { version });
        }
        layers.retain(|layers| *layers != [current]);
        layers.push(vec![current]);
        marks.retain(|version| *version != current);
        marks.push(current);
        let mut seen = Self { before: HashMap::new(), taken: HashSet::new(), waiting: Vec::new(), layers, marks };
        seen.read_before(connection, import).await?;
        seen.read_taken(connection, import, peppers).await?;
        seen.read_waiting(connection, import).await?;
        Ok(seen)
    }

    async fn read_before(&mut self, connection: &mut PgConnection, import: Import<'_>) -> Result<(), StoreError> {
        let sources: Vec<_> = import.keys.iter().map(|(_, key)| key.source.clone()).collect();
        let known = query_file!("queries/api_key/import_known.sql", import.application.uuid(), import.system, &sources);
        for row in known.fetch_all(connection).await? {
            let id = KeyId::parse(&row.id).ok_or_else(|| wire::corrupt("key id", row.id))?;
            let lookup = row.lookup.map(digest).transpose()?.map(Trace::Lookup);
            let mark = row.mark.map(digest).transpose()?.map(Trace::Mark);
            self.before.insert(row.source, (id, lookup.into_iter().chain(mark).collect()));
        }
        Ok(())
    }

    async fn read_taken(&mut self, connection: &mut PgConnection, import: Import<'_>, peppers: &Peppers) -> Result<(), StoreError> {
        let (mut lookups, mut marks) = (Vec::new(), Vec::new());
        for trace in import.keys.iter().flat_map(|(_, key)| self.traces(&key.hashed, peppers)) {
            match trace {
                Trace::Lookup(digest) => lookups.push(digest.to_vec()),
                Trace::Mark(digest) => marks.push(digest.to_vec()),
            }
        }
        let found = query_file_scalar!("queries/api_key/import_taken.sql", &lookups).fetch_all(&mut *connection).await?;
        for bytes in found {
            self.taken.insert(Trace::Lookup(digest(bytes)?));
        }
        for bytes in query_file_scalar!("queries/api_key/import_marked.sql", &marks).fetch_all(connection).await? {
            self.taken.insert(Trace::Mark(digest(bytes)?));
        }
        Ok(())
    }

    async fn read_waiting(&mut self, connection: &mut PgConnection, import: Import<'_>) -> Result<(), StoreError> {
        let wanted: Vec<&Prefix> = import.keys.iter().filter_map(|(_, key)| key.hashed.prefix()).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let beginnings: HashSet<String> = wanted.iter().flat_map(|prefix| prefix.beginnings()).map(str::to_owned).collect();
        let beginnings: Vec<String> = beginnings.into_iter().collect();
        let wanted: HashSet<&str> = wanted.into_iter().map(Prefix::as_str).collect();
        let wanted: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
        let limit = i64::try_from(SHARING_MAX).unwrap_or(i64::MAX);
        let crowd = query_file!("queries/api_key/import_crowd.sql", &beginnings, &wanted, limit, import.application.uuid());
        for row in crowd.fetch_all(connection).await? {
            self.waiting.push(Prefix::parse(&row.prefix).ok_or_else(|| wire::corrupt("imported key", "its prefix has not the form"))?);
        }
        Ok(())
    }

    /// What would be stored of a hash, under every pepper and layer that occurs; the last is what will be.
    fn traces(&self, hashed: &Hashed, peppers: &Peppers) -> Vec<Trace> {
        match hashed {
            Hashed::Sha256(hash) => {
                self.layers.iter().filter_map(|layers| peppers.lookup(layers, hash)).map(|digest| Trace::Lookup(digest.0)).collect()
            }
            Hashed::Bcrypt(_, hash) => self.marks.iter().filter_map(|version| peppers.bcrypt_mark(*version, hash)).map(Trace::Mark).collect(),
        }
    }

    /// Holds each against what is there, and against those before it.
    fn judge<'k>(mut self, keys: &'k [(KeyId, ForeignKey)], peppers: &Peppers) -> Result<Judged<'k>, StoreError> {
        let mut new = Vec::new();
        let mut outcomes = Vec::with_capacity(keys.len());
        for (id, key) in keys {
            let traces = self.traces(&key.hashed, peppers);
            outcomes.push(match self.before.get(&key.source) {
                Some((before, stored)) if traces.iter().any(|trace| stored.contains(trace)) => Imported::Before(*before),
                Some((before, _)) => Imported::Differs(*before),
                None if traces.iter().any(|trace| self.taken.contains(trace)) => Imported::Taken,
                None if key.hashed.prefix().is_some_and(|prefix| self.is_crowded(prefix)) => Imported::Crowded,
                None => {
                    let trace = traces.last().copied().ok_or_else(|| StoreError::invalid("the current pepper is not loaded"))?;
                    self.taken.insert(trace);
                    self.before.insert(key.source.clone(), (*id, vec![trace]));
                    self.waiting.extend(key.hashed.prefix().cloned());
                    new.push(New { id: *id, key, trace });
                    Imported::Now(*id)
                }
            });
        }
        Ok(Judged { outcomes, new })
    }

    fn is_crowded(&self, prefix: &Prefix) -> bool {
        self.waiting.iter().filter(|waiting| waiting.meets(prefix)).count() >= SHARING_MAX
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
    lookup: Option<SecretRow>,
    bcrypt: Option<BcryptRow>,
    mark: Option<SecretRow>,
}

/// What is stored of a new key's hash.
struct Stored {
    secret: SecretRow,
    lookup: Option<SecretRow>,
    bcrypt: Option<BcryptRow>,
    mark: Option<SecretRow>,
}

impl Stored {
    fn of(new: &New<'_>, peppers: &Peppers) -> Option<Self> {
        let (id, version) = (&new.id, peppers.current());
        let secret = |digest: [u8; 32]| SecretRow { digest, peppers: vec![version] };
        let (lookup, mark) = match new.trace {
            Trace::Lookup(digest) => (Some(secret(digest)), None),
            Trace::Mark(digest) => (None, Some(secret(digest))),
        };
        Some(match &new.key.hashed {
            Hashed::Sha256(hash) => Self { secret: secret(peppers.digest_foreign(version, id, hash)?.0), lookup, bcrypt: None, mark },
            Hashed::Bcrypt(prefix, hash) => {
                let sealed = peppers.seal_bcrypt(version, id, hash)?;
                let bcrypt = Some(BcryptRow { prefix: prefix.clone(), sealed, pepper: version });
                Self { secret: secret(peppers.digest_of_none(version, id)?.0), lookup, bcrypt, mark }
            }
        })
    }
}

async fn insert(write: &mut ControlWrite, import: Import<'_>, new: &[New<'_>], peppers: &Peppers, actor: &Actor) -> Result<(), StoreError> {
    if new.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::with_capacity(new.len());
    for new in new {
        let New { id, key, .. } = new;
        let Stored { secret, lookup, bcrypt, mark } =
            Stored::of(new, peppers).ok_or_else(|| StoreError::invalid("the current pepper is not loaded"))?;
        rows.push(NewRow {
            id: *id,
            secret: secret.clone(),
            name: &key.name,
            scopes: key.scopes.as_deref(),
            state: key.state,
            expires_at: key.expires_at.to_string(),
            source: &key.source,
            lookup: lookup.clone(),
            bcrypt: bcrypt.clone(),
            mark,
        });
        write.authority(&AuthorityChange::Key(Box::new(KeyRow {
            id: *id,
            application: import.application,
            environment: import.environment,
            secret,
            secret_number: 1,
            lookup,
            bcrypt,
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
        i32::from(peppers.current()),
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
