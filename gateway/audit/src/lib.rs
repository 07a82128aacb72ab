//! The audit log of one node, as files: what an event looks like, how it becomes durable, how it is read back.
//!
//! Purpose: *no released response is missing*. A request reserves its place before it acts ([`spool::Lane::reserve`]),
//! writes one canonical record ([`event::Event`]) and waits until a group commit has put it on disk
//! ([`spool::Receipt::durable`]). The loader reads the rows back in order ([`reader::Reader`]) and gives the space back
//! ([`spool::Spool::release`]).
//!
//! What it must not know: SQL, HTTP, configuration documents, wall clocks. It sees a directory, bytes and event fields,
//! so that an auditor can read it whole and it can be fuzzed alone.
//!
//! Reading order:
//! 1. [`event`]: the fields and their canonical bytes (RFC 8785);
//! 2. `layout`: the bytes of a segment: header, record frames, batch trailers, the chain;
//! 3. [`storage`]: the few file operations that everything else is built from;
//! 4. [`spool`]: configuration, admission, lanes and receipts, the writer thread, recovery at open;
//! 5. [`reader`]: rows for the loader;
//! 6. `simulate` (tests and the `simulate` feature): a disk that loses what was not synced, and the checker over it.
//!
//! Proofs (tree, checkpoints), the evolving MAC and erasure come later; their places are in the format already: a MAC
//! field in each batch trailer, a sealed-key field in each segment header, a salt with each record, and an envelope
//! around personal fields.

pub mod event;
pub(crate) mod layout;
pub mod reader;
pub(crate) mod scan;
#[cfg(any(test, feature = "simulate"))]
pub mod simulate;
pub mod spool;
pub mod storage;
