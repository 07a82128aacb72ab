//! Imported keys whose texts nobody has shown yet: found by what the texts begin with (`model::key::foreign::bcrypt`).

use std::{collections::HashMap, sync::Arc};

use super::Key;
use crate::{
    key::{
        KeyId,
        foreign::{Foreign, bcrypt::Prefix},
    },
    shard::ShardMap,
};

/// Ids of such keys, by their prefixes.
#[derive(Debug, Clone, Default)]
pub struct Waiting {
    ids: ShardMap<Box<str>, Arc<[KeyId]>>,
    /// The lengths that occur, with the number of their keys: a look-up tries each.
    lengths: Vec<(usize, usize)>,
}

/// A change of a key's prefix: `None` on either side where it has none.
type Edit<'k> = (KeyId, Option<&'k Prefix>, Option<&'k Prefix>);

impl Waiting {
    /// What finds these keys; `None` while there are none.
    pub(super) fn of(keys: &ShardMap<KeyId, Arc<Key>>) -> Option<Arc<Self>> {
        Self::default().edited(keys.iter().filter_map(|(id, key)| Some((*id, None, Some(prefix(key)?)))).collect())
    }

    /// The same after some changes of keys, in their order.
    pub(super) fn after(this: Option<&Arc<Self>>, keys: &ShardMap<KeyId, Arc<Key>>, changes: &[(KeyId, Option<Arc<Key>>)]) -> Option<Arc<Self>> {
        if this.is_none() && !changes.iter().any(|(_, key)| key.as_deref().is_some_and(|key| prefix(key).is_some())) {
            return None;
        }
        let mut last: HashMap<KeyId, Option<&Prefix>> = HashMap::new();
        let mut edits: Vec<Edit<'_>> = Vec::new();
        for (id, key) in changes {
            let before = last.get(id).copied().unwrap_or_else(|| keys.get(id).and_then(|key| prefix(key)));
            let after = key.as_deref().and_then(prefix);
            last.insert(*id, after);
            if before != after {
                edits.push((*id, before, after));
            }
        }
        if edits.is_empty() {
            return this.cloned();
        }
        this.map_or_else(Self::default, |this| Self::clone(this)).edited(edits)
    }

    fn edited(self, edits: Vec<Edit<'_>>) -> Option<Arc<Self>> {
        let Self { ids, mut lengths } = self;
        let mut places: HashMap<&str, Vec<KeyId>> = HashMap::new();
        for (id, before, after) in edits {
            if let Some(before) = before.map(Prefix::as_str) {
                places.entry(before).or_insert_with(|| stored(&ids, before)).retain(|known| *known != id);
                lengths.iter_mut().filter(|(length, _)| *length == before.len()).for_each(|(_, keys)| *keys = keys.saturating_sub(1));
            }
            if let Some(after) = after.map(Prefix::as_str) {
                places.entry(after).or_insert_with(|| stored(&ids, after)).push(id);
                match lengths.iter_mut().find(|(length, _)| *length == after.len()) {
                    Some((_, keys)) => *keys += 1,
                    None => lengths.push((after.len(), 1)),
                }
            }
        }
        lengths.retain(|(_, keys)| *keys > 0);
        let ids = ids.with(places.into_iter().map(|(prefix, ids)| (Box::from(prefix), (!ids.is_empty()).then(|| Arc::from(ids)))));
        (!ids.is_empty()).then(|| Arc::new(Self { ids, lengths }))
    }

    /// The keys that this text may be the text of, four at most of each tenant (an import takes no more).
    pub fn find(&self, text: &Foreign<'_>) -> impl Iterator<Item = KeyId> {
        let beginnings = self.lengths.iter().filter_map(|(length, _)| text.beginning(*length));
        beginnings.filter_map(|beginning| self.ids.get(beginning)).flat_map(|ids| ids.iter().copied())
    }
}

fn prefix(key: &Key) -> Option<&Prefix> {
    key.bcrypt().map(|bcrypt| &bcrypt.prefix)
}

fn stored(ids: &ShardMap<Box<str>, Arc<[KeyId]>>, prefix: &str) -> Vec<KeyId> {
    ids.get(prefix).map(|ids| ids.to_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
