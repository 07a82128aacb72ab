//! The control plane: the admin API over the store, behind one policy table.
//!
//! Purpose: an operator's request becomes one transaction in the store, is checked against one table of roles, and
//! leaves a record whose place was reserved before anything was done. The program that owns sockets and TLS serves the
//! [`router::router`] that is made here.
//!
//! What it must not know: sockets, TLS, the data plane, SQL text, and the clocks. Time, randomness, the node's state and
//! the access log come in as [`port`]s.
//!
//! Reading order:
//! 1. [`port`]: what the node must provide;
//! 2. [`policy`]: who may do what;
//! 3. [`router`]: every path, with the action it stands for and its description;
//! 4. `context` (the frame around each request), `guard` (who is it, may they, is it recorded), `refusal`, `body`,
//!    `query` (how requests are read and refused);
//! 5. [`openapi`]: what is published about it;
//! 6. `admin`: one module for each kind of resource;
//! 7. `portal`: the pages for developers.

mod admin;
mod body;
mod context;
pub mod email;
mod guard;
mod health;
pub mod jwks;
pub mod openapi;
mod operator;
pub mod policy;
pub mod port;
mod portal;
mod query;
mod refusal;
pub mod router;
pub mod state;
#[cfg(test)]
mod tests;
mod trail;
