//! `PostgreSQL`, in one place: every statement of the product stands in `queries/`, and nothing else names SQL.
//!
//! What it must not know: HTTP, sockets of clients, documents that were not compiled. One primary takes every write
//! ([`pool::Primary`]); each region reads its own standby ([`pool::Replica`]); using the wrong one is a type error.
//!
//! Reading order:
//! 1. [`error`], [`pool`], [`page`], [`actor`]: the words of every other module;
//! 2. [`sample`]: what one server says; [`topology`]: which server is the primary, found and never configured; [`domain_heartbeat`]: what confirms a read of another database's primary;
//! 3. [`revision`]: what nodes read: heads, whole loads, deltas, hints; `write`: how every control transaction is numbered; [`epoch`]: when it begins another epoch;
//!    [`position`]: the epochs of other databases; [`heartbeat`]: what confirms a read of the primary; `commit`: whether a commit waited for its standbys;
//! 4. [`apply`]: a document becomes rows; [`tenant`], [`plan`], [`consumer`], [`application`], [`key`], [`operator`],
//!    [`account`]: the rows one by one;
//! 5. [`notification`]: what people are told; [`purge`]: what must not be given from the nodes' caches any more; [`audit`]: the log, exactly once; [`node`]: who runs;
//! 6. [`migrate`], [`bootstrap`], [`demo`]: how a database comes to be, and the demo service's own.

pub mod account;
pub mod actor;
pub mod application;
pub mod apply;
pub mod audit;
pub mod bootstrap;
pub mod commit;
pub mod consumer;
pub mod demo;
pub mod denial;
pub mod domain_heartbeat;
pub mod epoch;
pub mod error;
pub mod heartbeat;
pub mod key;
pub mod migrate;
pub mod node;
pub mod notification;
pub mod operator;
pub mod page;
pub mod plan;
pub mod pool;
pub mod position;
pub mod purge;
pub mod revision;
pub mod sample;
pub mod tenant;
pub mod topology;
pub mod usage;
mod wire;
pub mod write;

#[cfg(test)]
mod tests;
