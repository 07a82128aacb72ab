//! The integration tests: one binary, so that the product and the harness link once.
//!
//! Every name is a promise. Nothing here sleeps: it waits on a condition, with a deadline.
#![cfg(test)]

mod admin_api;
mod arena;
mod bound_keys;
mod browser;
mod caching;
mod calls;
mod certificates;
mod client_address;
mod client_certificates;
mod closing;
mod command_line;
mod credentials;
mod curl;
mod deployment;
mod dev_lifecycle;
mod diversions;
mod dpop;
mod endpoints;
mod fault;
mod filters;
mod framing;
mod grpc;
mod history;
#[cfg(feature = "http3")]
mod http3;
mod identities;
mod interim;
mod key_life;
mod known_tokens;
mod leaks;
mod leaving;
mod limits;
mod node_start;
mod operation;
mod operators;
mod own_gateway;
mod paths;
mod peppers;
mod portal;
mod postgres;
mod power;
mod principal;
mod process;
mod program;
mod purging;
mod retries;
mod revisions;
mod service;
mod site;
mod slow_clients;
mod spool_disk;
mod streaming;
mod tidy;
mod tls;
mod token_endpoint;
mod tokens;
mod upgrade;
mod upstream;
mod upstream_faults;
mod upstream_protocols;
mod validation;
mod websockets;
mod wire;
