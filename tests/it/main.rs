//! The integration tests: one binary, so that the product and the harness link once.
//!
//! Every name is a promise. Nothing here sleeps: it waits on a condition, with a deadline.
#![cfg(test)]

mod calls;
mod command_line;
mod credentials;
mod deployment;
mod fault;
mod framing;
mod history;
mod limits;
mod paths;
mod node_start;
mod postgres;
mod power;
mod process;
mod program;
mod service;
mod site;
mod slow_clients;
mod streaming;
mod spool_disk;
mod tidy;
mod tls;
mod upstream;
mod upstream_faults;
mod validation;
mod wire;
