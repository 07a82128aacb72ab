//! app
pub mod postgres;
