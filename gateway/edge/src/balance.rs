//! Which endpoint takes a request, and which are spared: plain arithmetic over counters, with the time as an argument.
//!
//! What one core alone uses ([`load`], [`window`], [`budget`], [`cluster`]) is written without contention; what all cores must
//! agree on ([`breaker`], [`places`], [`crate::health::Endpoint`]) is read by every request and written when something fails.
//!
//! Reading order: [`cluster`] chooses, with [`load`], [`ring`] and [`dice`]; [`fleet`] is where a core finds the clusters of its
//! snapshot; [`breaker`], [`places`] and [`budget`] say no; [`tally`] counts.

pub mod breaker;
pub mod budget;
pub mod cluster;
pub mod dice;
pub mod fleet;
pub mod load;
pub mod places;
pub mod ring;
pub mod tally;
pub mod window;
