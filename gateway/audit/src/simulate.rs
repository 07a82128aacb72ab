//! A disk that loses what was not synced, and the checker that runs the spool over it.
//!
//! Killing a process proves nothing about syncing, because the kernel keeps its pages. Here power goes out in the middle of
//! any operation: of what was not synced, any subset survives, torn at 512-byte sectors and in any order, for file data and
//! for names alike. [`check::run`] then opens what is left and holds every acknowledged record against it.

pub mod check;
mod disk;
#[cfg(test)]
mod tests;

pub use disk::{Lie, Operation, SimDisk};

/// A small generator (`SplitMix64`): a seed gives the same run on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit` (0 for a limit of 0).
    pub const fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.bits() % limit }
    }

    /// True in `percent` of all cases.
    pub const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
