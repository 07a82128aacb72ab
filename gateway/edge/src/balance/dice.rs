//! Random numbers for choices that nobody attacks: fast, and not for secrets.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// One core's source of random numbers: splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Debug)]
pub struct Dice(AtomicU64);

impl Default for Dice {
    fn default() -> Self {
        Self::new(RandomState::new().hash_one(0_u8))
    }
}

impl Dice {
    /// A source that repeats itself for the same seed.
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next number.
    pub fn roll(&self) -> u64 {
        // Only its own core writes here, so that a plain load and store will do; a lost update would be harmless.
        let state = self.0.load(Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.store(state, Ordering::Relaxed);
        mix(state)
    }

    /// A number below `n`; 0 when `n` is 0.
    pub fn below(&self, n: usize) -> usize {
        // The upper half of a product: no division, and a bias of n in 2^64.
        let wide = u128::from(self.roll()) * u128::try_from(n).unwrap_or(0);
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// True in `of_ten_thousand` of ten thousand cases.
    pub fn hits(&self, of_ten_thousand: u32) -> bool {
        self.below(10_000) < usize::try_from(of_ten_thousand).unwrap_or(0)
    }
}

/// Spreads the bits of a number over the whole word.
pub const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
