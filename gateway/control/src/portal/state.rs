//! What the pages share in memory.

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::{password::Passwords, site::Site, throttle::Throttle};

/// Pages that may be in work at once; operators have places of their own.
const VISITS_MAX: usize = 64;

/// Calls of the console that may be under way at once.
const CALLS_MAX: usize = 8;

/// What the pages share in memory.
#[derive(Debug)]
pub(crate) struct Portal {
    pub(super) passwords: Passwords,
    pub(super) throttle: Throttle,
    pub(super) visits: Semaphore,
    pub(super) calls: Semaphore,
    /// What the pages tell about the deployment, with the epoch and the structural revision that it was read at.
    pub(super) site: Mutex<Option<((u64, u64), Arc<Site>)>>,
}

impl Default for Portal {
    fn default() -> Self {
        Self {
            passwords: Passwords::default(),
            throttle: Throttle::default(),
            visits: Semaphore::new(VISITS_MAX),
            calls: Semaphore::new(CALLS_MAX),
            site: Mutex::default(),
        }
    }
}
