//! The integration tests: one binary, so that the product and the harness link once.
//!
//! Every name is a promise. Nothing here sleeps: it waits on a condition, with a deadline.
#![cfg(test)]

mod deployment;
mod fault;
mod history;
mod postgres;
mod power;
mod process;
mod tidy;
mod upstream;
