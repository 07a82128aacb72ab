//! Values between their Rust form and the one that the database has.

use model::time::UtcMicros;
use time::OffsetDateTime;

use crate::{error::StoreError, tenant::ManagedBy};

/// An instant for a parameter.
pub(crate) fn instant(at: UtcMicros) -> Result<OffsetDateTime, StoreError> {
    at.to_datetime().ok_or_else(|| StoreError::invalid("an instant is out of range"))
}

/// Reads a number that is never negative in the database.
pub(crate) fn count(value: i64, what: &str) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| corrupt(what, "a negative number"))
}

/// A number for a parameter.
pub(crate) fn bigint(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::invalid("a number is above 2^63"))
}

/// Reads `managed_by`.
pub(crate) fn managed_by(text: &str) -> Result<ManagedBy, StoreError> {
    match text {
        "file" => Ok(ManagedBy::File),
        "api" => Ok(ManagedBy::Api),
        other => Err(corrupt("managed_by", other)),
    }
}

/// A stored value that this version cannot read.
pub(crate) fn corrupt(what: impl Into<String>, message: impl Into<String>) -> StoreError {
    StoreError::Corrupt { what: what.into(), message: message.into() }
}
