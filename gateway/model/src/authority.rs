//! Who may call: keys, applications and consumers, in maps that share unchanged parts between snapshots.

use std::sync::Arc;

use crate::{
    change::{ApplicationRow, AuthorityChange, ConsumerRow, KeyRow, KeyState},
    id::{ApplicationId, ConsumerId},
    key::{Digest, KeyId},
    shard::ShardMap,
    time::UtcMicros,
};

/// A key as the data plane needs it.
#[derive(Debug, Clone)]
pub struct Key {
    /// HMAC of the secret.
    pub digest: Digest,
    /// The pepper version of the digest.
    pub pepper_version: u16,
    /// The application that holds it.
    pub application: ApplicationId,
    /// Its own scopes; the application's when absent.
    pub scopes: Option<Arc<[Box<str>]>>,
    /// Whether it may be used.
    pub state: KeyState,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
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
}

/// All callers, at one authority revision.
#[derive(Debug, Clone, Default)]
pub struct Authority {
    /// Keys by their public id.
    pub keys: ShardMap<KeyId, Arc<Key>>,
    /// Applications by id.
    pub applications: ShardMap<ApplicationId, Arc<Application>>,
    /// Consumers by id.
    pub consumers: ShardMap<ConsumerId, Arc<Consumer>>,
}

impl Authority {
    /// Builds from whole tables.
    pub fn from_rows(
        consumers: impl IntoIterator<Item = ConsumerRow>,
        applications: impl IntoIterator<Item = ApplicationRow>,
        keys: impl IntoIterator<Item = KeyRow>,
    ) -> Self {
        Self {
            consumers: ShardMap::from_entries(consumers.into_iter().map(|row| (row.id, consumer(row)))),
            applications: ShardMap::from_entries(applications.into_iter().map(|row| (row.id, application(row)))),
            keys: ShardMap::from_entries(keys.into_iter().map(|row| (row.id, key(row)))),
        }
    }

    /// The state after these changes, in their order; parts that no change touches are shared.
    #[must_use]
    pub fn with(&self, changes: impl IntoIterator<Item = AuthorityChange>) -> Self {
        let (mut keys, mut applications, mut consumers) = (Vec::new(), Vec::new(), Vec::new());
        for change in changes {
            match change {
                AuthorityChange::Key(row) => keys.push((row.id, Some(key(row)))),
                AuthorityChange::KeyRemoved { id } => keys.push((id, None)),
                AuthorityChange::Application(row) => applications.push((row.id, Some(application(row)))),
                AuthorityChange::ApplicationRemoved { id } => applications.push((id, None)),
                AuthorityChange::Consumer(row) => consumers.push((row.id, Some(consumer(row)))),
                AuthorityChange::ConsumerRemoved { id } => consumers.push((id, None)),
                // The cache's business: no caller changes.
                AuthorityChange::CachePurge(_) => {}
            }
        }
        Self { keys: self.keys.with(keys), applications: self.applications.with(applications), consumers: self.consumers.with(consumers) }
    }
}

fn key(row: KeyRow) -> Arc<Key> {
    Arc::new(Key {
        digest: Digest(row.digest),
        pepper_version: row.pepper_version,
        application: row.application,
        scopes: row.scopes.map(scopes),
        state: row.state,
        expires_at: row.expires_at,
    })
}

fn application(row: ApplicationRow) -> Arc<Application> {
    Arc::new(Application { name: row.name.into(), consumer: row.consumer, plan: row.plan.map(Into::into), scopes: scopes(row.scopes) })
}

fn consumer(row: ConsumerRow) -> Arc<Consumer> {
    Arc::new(Consumer { name: row.name.into(), tenant: row.tenant.into() })
}

fn scopes(texts: Vec<String>) -> Arc<[Box<str>]> {
    texts.into_iter().map(String::into_boxed_str).collect()
}
