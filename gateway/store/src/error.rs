//! What can go wrong between us and a database, in the terms that a caller acts on.

use sqlx::{
    error::{DatabaseError, ErrorKind},
    postgres::{PgDatabaseError, PgSeverity},
};

/// A read or write that did not happen as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No server answered in time, or none is known to be what was asked for. Trying later can help.
    #[error("the database is unavailable: {reason}")]
    Unavailable {
        /// What was missing, for the log.
        reason: &'static str,
        /// The driver's error, if one was involved.
        #[source]
        source: Option<sqlx::Error>,
    },
    /// The connection broke while a commit was under way: the write may have happened or not. Read before trying again.
    #[error("the outcome of the commit is unknown")]
    CommitUnknown {
        /// The driver's error.
        #[source]
        source: sqlx::Error,
    },
    /// The write is done on the primary, and no standby has confirmed it: a promotion might undo it.
    #[error("the commit is done on the primary, and was not confirmed by a standby in time")]
    CommitUnconfirmed,
    /// The write contradicts what is there: a name that is taken, a row that others still refer to.
    #[error("the write conflicts with what is stored ({constraint}): {detail}")]
    Conflict {
        /// The constraint's name, stable: `api_key_pk`, `application_name_unique`, `application_plan_fk`, `managed_by`.
        constraint: String,
        /// What and with what, in words that contain names but no secrets.
        detail: String,
    },
    /// There is no such row.
    #[error("there is no {what} `{name}`")]
    NotFound {
        /// The kind of thing: `key`, `application`.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// The value cannot be stored, or a cursor is not one of ours: the caller's mistake.
    #[error("the value is refused: {message}")]
    Invalid {
        /// What is wrong with it.
        message: String,
    },
    /// A stored row has content that this version cannot read.
    #[error("the stored {what} cannot be read: {message}")]
    Corrupt {
        /// Which row.
        what: String,
        /// Why.
        message: String,
    },
    /// A later epoch of the control database is known than this server has: it was replaced as primary, or restored to an earlier time.
    #[error("the primary is in epoch {here}, and epoch {known} is known: it was replaced, or restored to an earlier time; it is not written to")]
    Superseded {
        /// The server's epoch.
        here: u64,
        /// The highest that this process has heard of.
        known: u64,
    },
    /// Stored keys need a pepper that is not loaded here.
    #[error("pepper {version} is not loaded, and stored keys need it")]
    PepperMissing {
        /// Its version.
        version: u16,
    },
    /// Anything else: a mistake of ours, or a database that is not what the migrations made.
    #[error("the database refused a statement")]
    Internal {
        /// The driver's error.
        #[source]
        source: sqlx::Error,
    },
}

impl StoreError {
    /// An error for something that is not there.
    pub(crate) fn not_found(what: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound { what, name: name.into() }
    }

    /// An error for a refused value.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into() }
    }

    /// An error for a server that is not there.
    pub(crate) fn unavailable(reason: &'static str) -> Self {
        Self::Unavailable { reason, source: None }
    }

    /// An error for a server that has not answered in time.
    pub fn silent() -> Self {
        Self::unavailable("the server does not answer")
    }

    /// An error for a rule that the store itself keeps.
    pub(crate) fn conflict(rule: &str, detail: impl Into<String>) -> Self {
        Self::Conflict { constraint: rule.to_owned(), detail: detail.into() }
    }

    /// True when it is about this constraint.
    pub(crate) fn breaks(&self, name: &str) -> bool {
        matches!(self, Self::Conflict { constraint, .. } if constraint == name)
    }

    /// What a failed COMMIT means. An ordinary error of the server is a refusal. A broken connection says nothing; nor does a
    /// server that ends the session: it does so too while it waits for its standbys, when the commit is done locally (T6).
    pub(crate) fn at_commit(source: sqlx::Error) -> Self {
        let severity = source.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()).map(PgDatabaseError::severity);
        if severity == Some(PgSeverity::Error) { Self::from(source) } else { Self::CommitUnknown { source } }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(source: sqlx::Error) -> Self {
        let sqlx::Error::Database(refusal) = &source else {
            return from_driver(source);
        };
        let constraint = refusal.constraint().unwrap_or("unnamed").to_owned();
        let kind = refusal.kind();
        if matches!(kind, ErrorKind::UniqueViolation) {
            Self::Conflict { constraint, detail: "it exists already".to_owned() }
        } else if matches!(kind, ErrorKind::ForeignKeyViolation) {
            Self::Conflict { constraint, detail: "another row refers to it, or the row it refers to is gone".to_owned() }
        } else if matches!(kind, ErrorKind::NotNullViolation | ErrorKind::CheckViolation) {
            Self::Invalid { message: format!("it breaks the rule {constraint}") }
        } else {
            from_state(source)
        }
    }
}

/// Errors that the server told us, by SQLSTATE.
fn from_state(source: sqlx::Error) -> StoreError {
    let code = source.as_database_error().and_then(DatabaseError::code).unwrap_or_default().into_owned();
    match code.as_str() {
        // Serialization failure, deadlock, lock timeout, cancelled by statement_timeout or by a conflict on a standby.
        "40001" | "40P01" | "55P03" | "57014" => StoreError::Unavailable { reason: "a statement did not finish in time", source: Some(source) },
        // The server is starting, stopping, full, or refuses writes because it is a standby.
        "57P01" | "57P02" | "57P03" | "53300" | "53400" | "25006" => {
            StoreError::Unavailable { reason: "the server does not take statements", source: Some(source) }
        }
        // U+0000 in a text or a document; text that is too long; a number out of range.
        "22P05" | "22021" | "22001" | "22003" => {
            StoreError::Invalid { message: "it holds a character or a number that the database cannot store".to_owned() }
        }
        _ => StoreError::Internal { source },
    }
}

/// Errors of the driver and of the network.
fn from_driver(source: sqlx::Error) -> StoreError {
    if matches!(source, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) {
        StoreError::Unavailable { reason: "no connection became free in time", source: Some(source) }
    } else if matches!(source, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed) {
        StoreError::Unavailable { reason: "the connection failed", source: Some(source) }
    } else if let sqlx::Error::ColumnDecode { index, source } = source {
        StoreError::Corrupt { what: format!("column {index}"), message: source.to_string() }
    } else if let sqlx::Error::Decode(source) = source {
        StoreError::Corrupt { what: "value".to_owned(), message: source.to_string() }
    } else {
        StoreError::Internal { source }
    }
}
