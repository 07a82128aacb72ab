//! Making the databases on a server of one's own: for `causeway dev` and the tests.

use model::secret::SecretText;
use sqlx::{ConnectOptions, Connection, PgConnection, query_file, query_file_scalar, raw_sql};

use crate::{
    error::StoreError,
    pool::{self, Credentials},
};

/// Which database is made; role and database have the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The control database: `causeway`.
    Causeway,
    /// The demo service's: `demo`.
    Demo,
}

impl Which {
    /// The name of the database and of its owner.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Causeway => "causeway",
            Self::Demo => "demo",
        }
    }

    /// Fixed statements: these take no parameters, and a name that is put together could be more than a name.
    const fn role(self) -> &'static str {
        match self {
            Self::Causeway => include_str!("../queries/bootstrap/role_causeway.sql"),
            Self::Demo => include_str!("../queries/bootstrap/role_demo.sql"),
        }
    }

    const fn database(self) -> &'static str {
        match self {
            Self::Causeway => include_str!("../queries/bootstrap/database_causeway.sql"),
            Self::Demo => include_str!("../queries/bootstrap/database_demo.sql"),
        }
    }
}

/// Makes the role and the database when they are missing; the role gets this password in any case.
///
/// `superuser.name` is the database to connect to, usually `postgres`.
///
/// # Errors
/// [`StoreError`].
pub async fn create_if_missing(address: &str, superuser: &Credentials, which: Which, password: &SecretText) -> Result<(), StoreError> {
    let options = pool::options(address, superuser).map_err(|error| StoreError::invalid(error.to_string()))?;
    // Copying the template can take longer than the statements of a serving node may.
    let mut connection = options.options([("statement_timeout", "60s")]).connect().await?;
    let made = create(&mut connection, which, password).await;
    // The connection's end ends the setting that held the password.
    connection.close().await?;
    made
}

async fn create(connection: &mut PgConnection, which: Which, password: &SecretText) -> Result<(), StoreError> {
    query_file!("queries/bootstrap/set_password.sql", password.expose_secret()).fetch_one(&mut *connection).await?;
    raw_sql(which.role()).execute(&mut *connection).await?;
    let exists = query_file_scalar!("queries/bootstrap/has_database.sql", which.name()).fetch_one(&mut *connection).await?;
    if !exists {
        raw_sql(which.database()).execute(&mut *connection).await?;
    }
    Ok(())
}
