//! The words that both planes speak: pure values, parsed once at the border.
//!
//! This crate knows no I/O, no clock and no async. Both planes compile the same [`document`] with the same
//! [`compile`] code, so what the admin API accepted is what a node serves.
//!
//! Reading order: [`document`] (what an operator writes), [`compile`] (what it means), [`structure`] and
//! [`authority`] (what a request is decided over), [`snapshot`] (both at one revision), [`problem`] (every way to
//! say no).

pub mod access_token;
pub mod authority;
pub mod base62;
pub mod certificate;
pub mod change;
pub mod compile;
pub mod consistency_token;
pub mod denial;
pub mod document;
pub mod duration;
mod faults;
pub mod filter;
#[cfg(test)]
mod fixture;
pub mod grpc;
pub mod hops;
pub mod host;
pub mod id;
pub mod identity;
pub mod jwt;
pub mod key;
pub mod key_set;
pub mod leak;
pub mod limit;
pub mod openapi;
pub mod origin;
pub mod path;
pub mod policy;
pub mod portal;
pub mod position;
pub mod problem;
pub mod purge;
pub mod residency;
pub mod resilience;
pub mod restriction;
pub mod rewrite;
pub mod seal;
pub mod secret;
pub mod shard;
pub mod signature;
pub mod snapshot;
pub mod source;
pub mod structure;
pub mod time;
pub mod totp;
pub mod trie;
pub mod webhook;
pub mod websocket;
