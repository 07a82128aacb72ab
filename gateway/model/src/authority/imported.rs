//! How keys of other systems are found: their texts hold no id.

use std::{collections::HashMap, sync::Arc};

use super::Key;
use crate::{
    key::{KeyId, Layers, Peppers, Stored, foreign::ForeignHash},
    shard::ShardMap,
};

/// Ids of imported keys, by what finds them.
#[derive(Debug, Clone, Default)]
pub struct Imported {
    ids: ShardMap<[u8; 32], KeyId>,
    /// The layers that occur, with the number of their keys: a look-up tries each. One, as a rule; one more after each rotation.
    layers: Vec<(Layers, usize)>,
}

/// A change of what finds a key: `None` on either side where nothing does.
type Edit<'k> = (KeyId, Option<&'k Stored>, Option<&'k Stored>);

impl Imported {
    /// What finds these keys.
    pub(super) fn of(keys: &ShardMap<KeyId, Arc<Key>>) -> Option<Arc<Self>> {
        Self::default().edited(keys.iter().filter_map(|(id, key)| Some((*id, None, Some(key.lookup()?)))).collect())
    }

    /// The same after some changes of keys, in their order.
    pub(super) fn after(this: Option<&Arc<Self>>, keys: &ShardMap<KeyId, Arc<Key>>, changes: &[(KeyId, Option<Arc<Key>>)]) -> Option<Arc<Self>> {
        if this.is_none() && !changes.iter().any(|(_, key)| key.as_ref().is_some_and(|key| key.lookup().is_some())) {
            return None;
        }
        let mut last: HashMap<KeyId, Option<&Stored>> = HashMap::new();
        let mut edits: Vec<Edit<'_>> = Vec::new();
        for (id, key) in changes {
            let before = last.get(id).copied().unwrap_or_else(|| keys.get(id)?.lookup());
            let after = key.as_ref().and_then(|key| key.lookup());
            last.insert(*id, after);
            if !is_same(before, after) {
                edits.push((*id, before, after));
            }
        }
        if edits.is_empty() {
            return this.cloned();
        }
        this.map_or_else(Self::default, |this| Self::clone(this)).edited(edits)
    }

    fn edited(self, edits: Vec<Edit<'_>>) -> Option<Arc<Self>> {
        let Self { ids, mut layers } = self;
        let mut places: HashMap<[u8; 32], Option<KeyId>> = HashMap::new();
        for (id, before, after) in edits {
            if let Some(before) = before {
                let place = before.digest.0;
                // Another key may have taken the place already, in the same batch.
                if places.get(&place).copied().unwrap_or_else(|| ids.get(&place).copied()) == Some(id) {
                    places.insert(place, None);
                }
                layers.iter_mut().filter(|(known, _)| *known == before.peppers).for_each(|(_, keys)| *keys = keys.saturating_sub(1));
            }
            if let Some(after) = after {
                places.insert(after.digest.0, Some(id));
                match layers.iter_mut().find(|(known, _)| *known == after.peppers) {
                    Some((_, keys)) => *keys += 1,
                    None => layers.push((after.peppers.clone(), 1)),
                }
            }
        }
        layers.retain(|(_, keys)| *keys > 0);
        let ids = ids.with(places);
        (!ids.is_empty()).then(|| Arc::new(Self { ids, layers }))
    }

    /// The key of this text, by its hash. What is stored needs the peppers, so the time that a look-up takes tells nothing about it;
    /// all layers are tried in any case.
    pub fn find(&self, peppers: &Peppers, hash: &ForeignHash) -> Option<KeyId> {
        self.layers.iter().fold(None, |found, (layers, _)| {
            let here = peppers.lookup(layers, hash).and_then(|digest| self.ids.get(&digest.0).copied());
            found.or(here)
        })
    }
}

fn is_same(one: Option<&Stored>, other: Option<&Stored>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.digest.0 == other.digest.0 && one.peppers == other.peppers,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests;
