//! What the pages share in memory.

use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};

use super::{password::Passwords, site::Site, throttle::Throttle};
use crate::refusal::Refusal;

/// Pages that may be in work at once; operators have places of their own.
const VISITS_MAX: usize = 64;

/// Requests of people's programs that may be in work at once.
const PROGRAMS_MAX: usize = 32;

/// Sessions that are looked up at once.
const LOOKUPS_MAX: usize = 8;

/// Calls of the console that may be under way at once.
const CALLS_MAX: usize = 8;

/// What the pages share in memory.
#[derive(Debug)]
pub(crate) struct Portal {
    pub(super) passwords: Passwords,
    pub(super) throttle: Throttle,
    pub(super) visits: Semaphore,
    pub(super) programs: Semaphore,
    pub(super) calls: Semaphore,
    /// Look-ups of sessions: whoever has no session cannot keep the database from those who have.
    pub(super) lookups: Semaphore,
    /// What the pages tell about the deployment, with the epoch and the structural revision that it was read at. That there is no portal
    /// is kept like one.
    pub(super) site: Mutex<Option<Kept>>,
}

/// What was read of the document, and at which epoch and structural revision.
pub(super) type Kept = ((u64, u64), Result<Arc<Site>, Refusal>);

impl Default for Portal {
    fn default() -> Self {
        Self {
            passwords: Passwords::default(),
            throttle: Throttle::default(),
            visits: Semaphore::new(VISITS_MAX),
            programs: Semaphore::new(PROGRAMS_MAX),
            calls: Semaphore::new(CALLS_MAX),
            lookups: Semaphore::new(LOOKUPS_MAX),
            site: Mutex::default(),
        }
    }
}
