//! Making the databases on a server of one's own: for `causeway dev` and the tests.

use model::secret::SecretText;

use crate::{error::StoreError, pool::Credentials};

/// Which database is made; role and database have the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The control database: `causeway`.
    Causeway,
    /// The demo service's: `demo`.
    Demo,
}

/// Makes the role and the database when they are missing; the role gets this password in any case.
///
/// `superuser.name` is the database to connect to, usually `postgres`.
///
/// # Errors
/// [`StoreError`].
pub async fn create_if_missing(address: &str, superuser: &Credentials, which: Which, password: &SecretText) -> Result<(), StoreError> {
    todo!()
}
