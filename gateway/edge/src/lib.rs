//! The data plane: sockets, TLS, and the path of a request from its first byte to its record.
//!
//! This crate must not know the database: no SQL, no axum, no control plane. Those hand it values: the next
//! [`model::snapshot::Snapshot`], and confirmations of the authority lease.
//!
//! Reading order: [`serve`] is the request path, one screen. Its stages follow in the order in which it calls them:
//! [`head`], [`trail`], [`gate`], [`route`], [`authenticate`], [`authorize`], [`limit`], [`validate`], [`region`],
//! [`forward`]. [`balance`] and [`health`] choose and spare endpoints. [`accept`] is what leads to it, [`runtime`] the state that outlives a snapshot.

pub mod accept;
mod ahead;
pub mod authenticate;
pub mod authorize;
pub mod balance;
pub mod body;
pub mod cache;
pub mod calm;
pub mod certificate;
pub mod clock;
pub mod coalesce;
pub mod compress;
pub mod connect;
pub mod consistency;
pub mod cors;
mod crossing;
pub mod current;
pub mod deadline;
pub mod divert;
pub mod fields;
pub mod filter;
#[cfg(test)]
mod fixture;
pub mod forward;
pub mod forwarded;
pub mod gate;
pub mod grpc;
pub mod head;
pub mod health;
pub mod hops;
pub mod http1;
pub mod http2;
#[cfg(feature = "http3")]
pub mod http3;
pub mod ids;
pub mod intake;
pub mod issuers;
pub mod lease;
pub mod limit;
pub mod listener;
pub mod message;
pub mod metrics;
pub mod mirror;
pub mod names;
pub mod network;
pub mod outside;
pub mod pieces;
pub mod pool;
pub mod positions;
pub mod principal;
pub mod proving;
pub mod refuse;
pub mod region;
pub mod route;
pub mod runtime;
pub mod serve;
pub mod stay;
pub mod strict;
pub mod tls;
pub mod token_endpoint;
pub mod trail;
pub mod transform;
pub mod validate;
pub mod watch;
pub mod websocket;
