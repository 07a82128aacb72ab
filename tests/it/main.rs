//! The integration tests: one binary, so that the product and the harness link once.
//!
//! Every name is a promise. Nothing here sleeps: it waits on a condition, with a deadline.
#![cfg(test)]

mod caching;
mod calls;
mod command_line;
mod credentials;
mod deployment;
mod dev_lifecycle;
mod fault;
mod filters;
mod framing;
mod history;
mod limits;
mod node_start;
mod paths;
mod postgres;
mod power;
mod process;
mod program;
mod revisions;
mod service;
mod site;
mod slow_clients;
mod spool_disk;
mod streaming;
mod tidy;
mod tls;
mod upstream;
mod upstream_faults;
mod validation;
mod wire;
