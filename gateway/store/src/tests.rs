//! Promises of the store, against a real `PostgreSQL` that the tests start for themselves.

mod account;
mod apply;
mod audit;
mod domain_heartbeat;
mod epoch;
mod fixture;
mod foreign;
mod heartbeat;
mod key;
mod key_bcrypt;
mod key_import;
mod key_life;
mod lists;
mod notification;
mod position;
mod purge;
mod residency;
mod revision;
mod servers;
mod usage;
