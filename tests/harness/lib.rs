//! The test harness: real `PostgreSQL`, real nodes, clients, upstreams that misbehave, and the faults between them.
//!
//! Reading order: [`wait`] (how tests wait), [`seed`] (where chance comes from), [`fault`] (what lies between regions),
//! [`upstream`] (what lies behind a node), [`client`] (what lies before it), [`dev`], [`node`], [`regions`], [`testbed`] and [`patroni`] (whole deployments and
//! the faults in them), [`site`] (what the second and the third have in common), [`frames`] and [`conformance`] (what any HTTP server must do),
//! [`issuer`] (who issues tokens), [`smtp`] and [`hook`] (who is told things), [`power`] (what a power loss would have kept), [`history`] (what a recorded run proves),
//! [`browser`] (a person with a browser).
//!
//! It must not know how the product works inside: it uses files, sockets and processes, as an operator would.

pub mod bcrypt;
pub mod browser;
pub mod client;
pub mod conformance;
pub mod dev;
pub mod fault;
pub mod frames;
pub mod history;
pub mod hook;
pub mod http3;
pub mod introspector;
pub mod issuer;
pub mod listening;
pub mod node;
pub mod patroni;
pub mod power;
pub mod process;
pub mod provider;
pub mod regions;
pub mod seed;
pub mod site;
pub mod smtp;
pub mod sql;
#[path = "../regions/testbed.rs"]
pub mod testbed;
pub mod upstream;
pub mod wait;
pub mod websocket;
