//! Purges on their way from the authority lane to the cache, and the memory that they free.

use std::{sync::Arc, time::Duration};

use edge::{cache::Cache, runtime::Edge};
use model::{change::AuthorityChange, purge::Purge};
use store::{purge::CACHE_PURGE, revision::BadRow};

/// How often purged responses are looked for: what is purged is not given before that either, it only takes memory.
const CLEAR_EVERY: Duration = Duration::from_secs(1);

/// Applies the purges among some changes.
pub fn apply(cache: &Cache, changes: &[AuthorityChange]) {
    let purges: Vec<Purge> = changes.iter().filter_map(purge_of).cloned().collect();
    if !purges.is_empty() {
        tracing::info!(purges = purges.len(), "stored responses are purged");
        cache.purge(&purges);
    }
}

/// What takes the place of a purge that cannot be read: it might have named anything.
pub fn in_place_of(bad: &BadRow) -> Option<AuthorityChange> {
    (bad.kind == CACHE_PURGE).then(|| AuthorityChange::CachePurge(Purge::default()))
}

const fn purge_of(change: &AuthorityChange) -> Option<&Purge> {
    match change {
        AuthorityChange::CachePurge(purge) => Some(purge),
        AuthorityChange::Key(_)
        | AuthorityChange::KeyRemoved { .. }
        | AuthorityChange::Application(_)
        | AuthorityChange::ApplicationRemoved { .. }
        | AuthorityChange::Consumer(_)
        | AuthorityChange::ConsumerRemoved { .. }
        | AuthorityChange::TokenDenied(_) => None,
    }
}

/// Clears purged responses from memory, for as long as the node runs.
pub async fn clear(edge: Arc<Edge>) {
    let mut pulse = tokio::time::interval(CLEAR_EVERY);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pulse.tick().await;
        if edge.cache.is_clearing_due() {
            let edge = Arc::clone(&edge);
            if let Err(error) = tokio::task::spawn_blocking(move || edge.cache.clear_purged()).await {
                tracing::error!(error = &error as &dyn std::error::Error, "clearing purged responses panicked");
            }
        }
    }
}
