//! The one binary: the command line, and the wiring of a node. No business rules live here.
//!
//! Reading order: [`cli`] names every verb; [`node`] wires a serving node; [`follow`] brings configuration from the
//! database to the data plane; [`load`] brings audit records from the data plane to the database; [`dev`] is a whole
//! deployment on one machine.

pub mod beating;
pub mod boot;
pub mod certificates;
pub mod certs;
pub mod cli;
pub mod config;
pub mod control_listener;
pub mod dev;
pub mod domains;
pub mod expose;
pub mod facts;
pub mod follow;
pub mod handover;
pub mod introspection;
pub mod journal;
pub mod key_sets;
pub mod load;
pub mod node;
pub mod notifications;
pub mod notify;
pub mod own_gateway;
pub mod postgres;
pub mod principal;
pub mod probing;
pub mod prove;
pub mod provider;
pub mod purge;
pub mod report;
pub mod sealed;
pub mod status;
pub mod task;
pub mod telemetry;
pub mod wire;
