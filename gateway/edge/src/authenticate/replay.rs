//! Proofs of possession (RFC 9449 section 11.1) and nonces of signatures (RFC 9421 section 7.2.2) that were used already.
//!
//! A proof is remembered for longer than it is taken, by this node alone and until it ends. What there is no room for is refused:
//! forgetting would let a thief use what was seen.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
};

use model::{
    jwt::dpop::{AGE_SECONDS_MAX, AHEAD_SECONDS_MAX, Proved},
    signature::rule,
    time::BootNanos,
};
use parking_lot::Mutex;

/// Proofs go by slots of so long, so that forgetting is dropping a slot.
const SLOT_NANOS: u64 = 8_000_000_000;
/// A proof of the beginning of the first slot is then 80 s old, one of its end 72 s; it is taken for 65 s at most.
const SLOTS_MAX: u64 = 10;
const _: () = assert!((SLOTS_MAX - 1) * SLOT_NANOS > ((AGE_SECONDS_MAX + AHEAD_SECONDS_MAX) as u64) * 1_000_000_000);

/// Nonces go by longer ones: a signature is taken for 305 s at most, and its nonce is remembered for 324 s at least. With room for as many,
/// that is 3,000 requests with nonces a second.
pub(super) const NONCE_SLOT_NANOS: u64 = 36_000_000_000;
const _: () = assert!((SLOTS_MAX - 1) * NONCE_SLOT_NANOS > ((rule::AGE_SECONDS_MAX + rule::AHEAD_SECONDS_MAX) as u64) * 1_000_000_000);

/// 14,000 requests with proofs a second, for each node: 64 MiB at the very most.
const PROOFS_MAX: usize = 1 << 20;
/// An eighth for one key: who has one cannot shut out the others.
const OF_KEY_MAX: u32 = 1 << 17;

/// Why a proof is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Used {
    /// It was used before.
    Before,
    /// Whether it was cannot be told later: too many are remembered.
    Full,
}

/// The proofs that were used.
pub struct Replays(Mutex<Memory>);

struct Memory {
    slots: VecDeque<Slot>,
    slot_nanos: u64,
    proofs_max: usize,
    of_key_max: u32,
}

#[derive(Default)]
struct Slot {
    number: u64,
    proofs: HashSet<u128>,
    /// How many are whose, by the beginning of the key's thumbprint.
    keys: HashMap<u64, u32>,
}

impl Default for Replays {
    fn default() -> Self {
        Self::by_slots_of(SLOT_NANOS)
    }
}

/// How many alone: what was used is nobody's business.
impl fmt::Debug for Replays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replays").field("slots", &self.0.lock().slots.len()).finish_non_exhaustive()
    }
}

impl Replays {
    /// A memory of ten slots of so long.
    pub(super) const fn by_slots_of(slot_nanos: u64) -> Self {
        Self::with_room(slot_nanos, PROOFS_MAX, OF_KEY_MAX)
    }

    const fn with_room(slot_nanos: u64, proofs_max: usize, of_key_max: u32) -> Self {
        Self(Mutex::new(Memory { slots: VecDeque::new(), slot_nanos, proofs_max, of_key_max }))
    }

    /// Uses a proof: the first time that it comes, and never again.
    pub(super) fn spend(&self, proof: &Proved, now: BootNanos) -> Result<(), Used> {
        let whose = proof.thumbprint.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        self.use_up(proof.id, whose, now)
    }

    /// The same for anything that is used once, by its id among all and whose share it takes.
    pub(super) fn use_up(&self, id: u128, whose: u64, now: BootNanos) -> Result<(), Used> {
        let Memory { slots, slot_nanos, proofs_max, of_key_max } = &mut *self.0.lock();
        // Requests that waited come with an instant of before.
        let number = (now.0 / *slot_nanos).max(slots.back().map_or(0, |newest| newest.number));
        while slots.front().is_some_and(|oldest| oldest.number + SLOTS_MAX <= number) {
            slots.pop_front();
        }
        if slots.iter().any(|slot| slot.proofs.contains(&id)) {
            return Err(Used::Before);
        }
        let n_known: usize = slots.iter().map(|slot| slot.proofs.len()).sum();
        let n_keys: u32 = slots.iter().filter_map(|slot| slot.keys.get(&whose)).sum();
        if n_known >= *proofs_max || n_keys >= *of_key_max {
            return Err(Used::Full);
        }
        if slots.back().is_none_or(|newest| newest.number < number) {
            slots.push_back(Slot { number, ..Slot::default() });
        }
        if let Some(newest) = slots.back_mut() {
            newest.proofs.insert(id);
            *newest.keys.entry(whose).or_default() += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
