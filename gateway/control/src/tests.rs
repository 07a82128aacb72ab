//! The router without a database: everything that is decided before one is asked.

mod answers;
mod credentials;
pub(crate) mod fixture;
mod purge;
mod records;
mod residency;
mod strict;
