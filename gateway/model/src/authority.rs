//! Who may call: keys, applications and consumers, in maps that share unchanged parts between snapshots.

mod imported;
mod waiting;

use std::{collections::HashMap, sync::Arc};

pub use self::{imported::Imported, waiting::Waiting};
use crate::{
    change::{ApplicationRow, AuthorityChange, BcryptRow, ConsumerRow, Environment, KeyRow, KeyState, PreviousRow, SecretRow},
    denial::{DenialRow, Denials},
    id::{ApplicationId, ConsumerId},
    key::{Digest, KeyId, Stored, Which},
    residency::Labels,
    restriction::Restrictions,
    shard::ShardMap,
    time::UtcMicros,
};

/// A key as the data plane needs it.
#[derive(Debug, Clone)]
pub struct Key {
    /// What proves it.
    pub secret: Stored,
    /// The how manyth secret that is. No two secrets of a key share a number.
    pub secret_number: u32,
    /// The application that holds it.
    pub application: ApplicationId,
    /// Its own scopes; the application's when absent.
    pub scopes: Option<Arc<[Box<str>]>>,
    /// For which traffic it is.
    pub environment: Environment,
    /// Whether it may be used.
    pub state: KeyState,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
    /// What few keys have; apart, because there may be a million keys.
    pub special: Option<Box<Special>>,
}

/// What few keys have.
#[derive(Debug, Clone)]
pub struct Special {
    /// What proved the key before.
    pub previous: Option<Previous>,
    /// The name of its own plan.
    pub plan: Option<Arc<str>>,
    /// Where it may be used.
    pub restrictions: Restrictions,
    /// What finds it, if another system has issued it.
    pub lookup: Option<Stored>,
    /// What verifies its text, if another system has issued it and nobody has shown the text yet.
    pub bcrypt: Option<Box<BcryptRow>>,
}

/// A secret that was replaced, and works for a while beside the present one.
#[derive(Debug, Clone)]
pub struct Previous {
    /// What proves it.
    pub secret: Stored,
    /// The how manyth secret it is.
    pub number: u32,
    /// When it stops being valid.
    pub until: UtcMicros,
}

impl Key {
    /// Where it may be used, if it is restricted.
    pub fn restrictions(&self) -> Option<&Restrictions> {
        self.special.as_ref().map(|special| &special.restrictions).filter(|restrictions| !restrictions.is_none())
    }

    /// What finds it, if another system has issued it.
    pub fn lookup(&self) -> Option<&Stored> {
        self.special.as_ref()?.lookup.as_ref()
    }

    /// What verifies its text, if another system has issued it and nobody has shown the text yet.
    pub fn bcrypt(&self) -> Option<&BcryptRow> {
        self.special.as_ref()?.bcrypt.as_deref()
    }

    /// Whether another system has issued its first secret.
    pub fn is_imported(&self) -> bool {
        self.lookup().is_some() || self.bcrypt().is_some()
    }

    /// The name of its own plan.
    pub fn plan(&self) -> Option<&Arc<str>> {
        self.special.as_ref()?.plan.as_ref()
    }

    /// The secret before the present one, while it is still valid.
    pub fn previous(&self, now: UtcMicros) -> Option<&Stored> {
        let previous = self.before()?;
        (now < previous.until).then_some(&previous.secret)
    }

    /// The how manyth of its secrets one is.
    pub fn number_of(&self, which: Which) -> Option<u32> {
        match which {
            Which::Present => Some(self.secret_number),
            Which::Previous => self.before().map(|previous| previous.number),
        }
    }

    /// Until when a secret of this number may be used; `None` when it may not.
    pub fn valid_until(&self, secret_number: u32, now: UtcMicros) -> Option<UtcMicros> {
        if self.state != KeyState::Active || now >= self.expires_at {
            return None;
        }
        if secret_number == self.secret_number {
            return Some(self.expires_at);
        }
        let previous = self.before()?;
        (secret_number == previous.number && now < previous.until).then(|| self.expires_at.min(previous.until))
    }

    fn before(&self) -> Option<&Previous> {
        self.special.as_ref()?.previous.as_ref()
    }

    /// The row that it was made from.
    pub fn to_row(&self, id: KeyId) -> KeyRow {
        let secret = |stored: &Stored| SecretRow { digest: stored.digest.0, peppers: stored.peppers.to_vec() };
        let special = self.special.as_deref();
        KeyRow {
            id,
            application: self.application,
            environment: self.environment,
            secret: secret(&self.secret),
            secret_number: self.secret_number,
            lookup: self.lookup().map(secret),
            bcrypt: self.bcrypt().cloned(),
            previous: special.and_then(|special| special.previous.as_ref()).map(|previous| PreviousRow {
                secret: secret(&previous.secret),
                until: previous.until,
                number: Some(previous.number).filter(|number| number.checked_add(1) != Some(self.secret_number)),
            }),
            scopes: self.scopes.as_deref().map(|scopes| scopes.iter().map(|scope| scope.clone().into_string()).collect()),
            plan: self.plan().map(ToString::to_string),
            restrictions: special.map(|special| special.restrictions.clone()).unwrap_or_default(),
            state: self.state,
            expires_at: self.expires_at,
        }
    }
}

/// An application as the data plane needs it.
#[derive(Debug, Clone)]
pub struct Application {
    /// Its name.
    pub name: Arc<str>,
    /// The consumer it belongs to.
    pub consumer: ConsumerId,
    /// The name of its plan.
    pub plan: Option<Arc<str>>,
    /// Scopes of keys that have none of their own.
    pub scopes: Arc<[Box<str>]>,
}

/// A consumer as the data plane needs it.
#[derive(Debug, Clone)]
pub struct Consumer {
    /// Its name.
    pub name: Arc<str>,
    /// The name of its tenant.
    pub tenant: Arc<str>,
    /// In which regions its data may lie; `None` when in any.
    pub residency: Option<Labels>,
}

impl Consumer {
    /// The row that it was made from.
    pub fn to_row(&self, id: ConsumerId) -> ConsumerRow {
        let residency = self.residency.as_ref().map(Labels::to_texts);
        ConsumerRow { id, name: self.name.to_string(), tenant: self.tenant.to_string(), residency }
    }
}

/// All callers, at one authority revision.
#[derive(Debug, Clone, Default)]
pub struct Authority {
    /// Keys by their public id.
    pub keys: ShardMap<KeyId, Arc<Key>>,
    /// Applications by id.
    pub applications: ShardMap<ApplicationId, Arc<Application>>,
    /// Their ids by name: tokens name them so.
    pub application_ids: ShardMap<Arc<str>, ApplicationId>,
    /// Consumers by id.
    pub consumers: ShardMap<ConsumerId, Arc<Consumer>>,
    /// How keys of other systems are found; `None` while there are none.
    pub imported: Option<Arc<Imported>>,
    /// How those among them are found whose texts nobody has shown yet; `None` while there are none.
    pub waiting: Option<Arc<Waiting>>,
    /// Tokens that are refused.
    pub denials: Arc<Denials>,
}

impl Authority {
    /// Builds from whole tables.
    pub fn from_rows(
        consumers: impl IntoIterator<Item = ConsumerRow>,
        applications: impl IntoIterator<Item = ApplicationRow>,
        keys: impl IntoIterator<Item = KeyRow>,
        denials: impl IntoIterator<Item = DenialRow>,
    ) -> Self {
        let applications = ShardMap::from_entries(applications.into_iter().map(|row| (row.id, application(row))));
        let keys = ShardMap::from_entries(keys.into_iter().map(|row| (row.id, key(row))));
        Self {
            imported: Imported::of(&keys),
            waiting: Waiting::of(&keys),
            consumers: ShardMap::from_entries(consumers.into_iter().map(|row| (row.id, consumer(row)))),
            application_ids: ShardMap::from_entries(applications.iter().map(|(id, application)| (Arc::clone(&application.name), *id))),
            applications,
            keys,
            denials: Arc::new(Denials::from_rows(denials)),
        }
    }

    /// The state after these changes, in their order; parts that no change touches are shared.
    #[must_use]
    pub fn with(&self, changes: impl IntoIterator<Item = AuthorityChange>) -> Self {
        let (mut keys, mut applications, mut consumers) = (Vec::new(), Vec::new(), Vec::new());
        let mut denials = Arc::clone(&self.denials);
        for change in changes {
            match change {
                AuthorityChange::Key(row) => keys.push((row.id, Some(key(*row)))),
                AuthorityChange::KeyRemoved { id } => keys.push((id, None)),
                AuthorityChange::Application(row) => applications.push((row.id, Some(application(row)))),
                AuthorityChange::ApplicationRemoved { id } => applications.push((id, None)),
                AuthorityChange::Consumer(row) => consumers.push((row.id, Some(consumer(row)))),
                AuthorityChange::ConsumerRemoved { id } => consumers.push((id, None)),
                AuthorityChange::TokenDenied(row) => Arc::make_mut(&mut denials).add(row),
                // The cache's business: no caller changes.
                AuthorityChange::CachePurge(_) => {}
            }
        }
        Self {
            imported: Imported::after(self.imported.as_ref(), &self.keys, &keys),
            waiting: Waiting::after(self.waiting.as_ref(), &self.keys, &keys),
            keys: self.keys.with(keys),
            application_ids: self.renamed(&applications),
            applications: self.applications.with(applications),
            consumers: self.consumers.with(consumers),
            denials,
        }
    }

    /// The ids of applications by name after these changes. A name may pass from one application to another in either order.
    fn renamed(&self, changes: &[(ApplicationId, Option<Arc<Application>>)]) -> ShardMap<Arc<str>, ApplicationId> {
        if changes.is_empty() {
            return self.application_ids.clone();
        }
        let mut names: HashMap<Arc<str>, Option<ApplicationId>> = HashMap::new();
        let mut last: HashMap<ApplicationId, Option<Arc<str>>> = HashMap::new();
        for (id, after) in changes {
            let before = last.get(id).cloned().unwrap_or_else(|| self.applications.get(id).map(|application| Arc::clone(&application.name)));
            if let Some(name) = before {
                let holder = names.get(&name).copied().unwrap_or_else(|| self.application_ids.get(&name).copied());
                if holder == Some(*id) {
                    names.insert(name, None);
                }
            }
            let name = after.as_ref().map(|application| Arc::clone(&application.name));
            names.extend(name.clone().map(|name| (name, Some(*id))));
            last.insert(*id, name);
        }
        self.application_ids.with(names)
    }
}

fn key(row: KeyRow) -> Arc<Key> {
    Arc::new(Key::from(row))
}

impl From<KeyRow> for Key {
    fn from(row: KeyRow) -> Self {
        // A number that no secret has where there is none before the first: nothing was opened with it.
        let before = row.secret_number.saturating_sub(1);
        let previous = row.previous.map(|previous| Previous {
            secret: stored(&previous.secret),
            number: previous.number.unwrap_or(before),
            until: previous.until,
        });
        let plan = row.plan.map(Into::into);
        let lookup = row.lookup.as_ref().map(stored);
        let bcrypt = row.bcrypt.map(Box::new);
        let is_special = previous.is_some() || plan.is_some() || !row.restrictions.is_none() || lookup.is_some() || bcrypt.is_some();
        Self {
            secret: stored(&row.secret),
            secret_number: row.secret_number,
            application: row.application,
            scopes: row.scopes.map(scopes),
            environment: row.environment,
            state: row.state,
            expires_at: row.expires_at,
            special: is_special.then(|| Box::new(Special { previous, plan, restrictions: row.restrictions, lookup, bcrypt })),
        }
    }
}

fn stored(row: &SecretRow) -> Stored {
    Stored { digest: Digest(row.digest), peppers: row.peppers.iter().copied().collect() }
}

fn application(row: ApplicationRow) -> Arc<Application> {
    Arc::new(Application { name: row.name.into(), consumer: row.consumer, plan: row.plan.map(Into::into), scopes: scopes(row.scopes) })
}

fn consumer(row: ConsumerRow) -> Arc<Consumer> {
    Arc::new(Consumer { name: row.name.into(), tenant: row.tenant.into(), residency: row.residency.map(Labels::new) })
}

fn scopes(texts: Vec<String>) -> Arc<[Box<str>]> {
    texts.into_iter().map(String::into_boxed_str).collect()
}

#[cfg(test)]
mod tests;
