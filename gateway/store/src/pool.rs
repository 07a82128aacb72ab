//! Connections: the wrong pool is a type error.

use std::{path::PathBuf, sync::Arc, time::Duration};

use model::secret::SecretText;
use sqlx::{
    ConnectOptions, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{epoch::Heard, error::StoreError};

/// How long a caller waits for a connection.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(2);
/// Connections that nobody used for so long are closed.
const IDLE_MAX: Duration = Duration::from_mins(5);

/// The server that takes writes.
#[derive(Debug, Clone)]
pub struct Primary {
    pool: PgPool,
    heard: Heard,
    /// Places of changes that are under way.
    turns: Arc<Semaphore>,
}

/// A server that may be behind.
#[derive(Debug, Clone)]
pub struct Replica(PgPool);

impl Primary {
    /// With what its process has heard of other servers of the cluster.
    pub(crate) fn new(pool: PgPool, heard: Heard) -> Self {
        let turns = pool.options().get_max_connections().div_ceil(2).max(1);
        Self { pool, heard, turns: Arc::new(Semaphore::new(usize::try_from(turns).unwrap_or(1))) }
    }

    /// Waits until a change may be begun. All of them wait for one lock, each with a connection: while commits there stand still, as after a
    /// failover before a standby streams, they may take half of the pool and no more, or nobody could follow the database or confirm keys.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it has not come to that in time.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let turn = timeout(ACQUIRE_WITHIN, Arc::clone(&self.turns).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| StoreError::unavailable("changes before this one are not done"))
    }

    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(crate) const fn heard(&self) -> &Heard {
        &self.heard
    }
}

impl Replica {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self(pool)
    }
}

mod sealed {
    /// Keeps other crates from making readers, and from reaching the pool of one.
    pub trait Pooled: Sync {
        fn reader_pool(&self) -> &sqlx::PgPool;
    }
}

pub(crate) use sealed::Pooled;

/// A server that reads may use: a [`Primary`] or a [`Replica`].
pub trait Reader: Pooled {}

impl Pooled for Primary {
    fn reader_pool(&self) -> &PgPool {
        &self.pool
    }
}

impl Pooled for Replica {
    fn reader_pool(&self) -> &PgPool {
        &self.0
    }
}

impl Reader for Primary {}
impl Reader for Replica {}

/// How a connection to a server is protected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Tls {
    /// Not at all: for servers on this machine.
    #[default]
    Plain,
    /// Encrypted; the server's certificate must be signed by this CA and name the server.
    Verified {
        /// The CA's certificate, PEM.
        ca: PathBuf,
    },
}

/// Who connects, and to which database.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The database.
    pub name: String,
    /// The role.
    pub user: String,
    /// The role's password.
    pub password: SecretText,
    /// How the connection is protected.
    pub tls: Tls,
}

/// The server is not `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `host:port`")]
pub struct AddressError(pub String);

/// Options for one server. They are built, never parsed from a connection string: sqlx ignores the keys it does not know
/// (`target_session_attrs`), which would send writes anywhere (T10).
pub(crate) fn options(address: &str, credentials: &Credentials) -> Result<PgConnectOptions, AddressError> {
    let refused = || AddressError(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(refused)?;
    let port: u16 = port.parse().map_err(|_| refused())?;
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(refused());
    }
    let options = PgConnectOptions::new_without_pgpass();
    // Said in either case: the default would encrypt when the server happens to offer it, and verify nothing.
    let options = match &credentials.tls {
        Tls::Plain => options.ssl_mode(PgSslMode::Disable),
        Tls::Verified { ca } => options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(ca),
    };
    Ok(options
        .host(host)
        .port(port)
        .database(&credentials.name)
        .username(&credentials.user)
        .password(credentials.password.expose_secret())
        .application_name("causeway")
        // No statement of ours needs 5 s; one that does is stuck. A transaction left open would hold back vacuum.
        .options([
            ("statement_timeout", "5s"),
            ("lock_timeout", "4s"),
            ("idle_in_transaction_session_timeout", "10s"),
            // Searches have many optional filters: a generic plan could not use the index of the one that is given.
            ("plan_cache_mode", "force_custom_plan"),
            // What is committed is on a standby too, where there is one to wait for, whatever the server's default is.
            ("synchronous_commit", "on"),
            // What was cut short while it waited is told by a warning alone.
            ("client_min_messages", "warning"),
        ])
        .disable_statement_logging())
}

/// A pool that connects when it is first used.
pub(crate) fn lazy(options: PgConnectOptions, connections_max: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections_max.max(1))
        .acquire_timeout(ACQUIRE_WITHIN)
        .idle_timeout(IDLE_MAX)
        // A ping before each use doubles the round trips; a connection that died shows in the statement itself.
        .test_before_acquire(false)
        .connect_lazy_with(options)
}
