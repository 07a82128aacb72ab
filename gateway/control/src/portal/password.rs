//! Passwords of people: argon2id (RFC 9106), with a key that the database does not hold.

use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use model::problem::{Denial, ProblemKind};
use tokio::sync::Semaphore;

use crate::refusal::Refusal;

/// Characters. Long sentences are fine; what is longer is only work.
pub(super) const PASSWORD_MIN: usize = 12;
pub(super) const PASSWORD_MAX: usize = 128;

/// What one hash costs: 19 MiB, two passes.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;

/// Hashes that are computed at once, and how long one waits for its turn: a flood of sign-ins must not take the cores from traffic.
const AT_ONCE: usize = 1;
const TURN_WITHIN: Duration = Duration::from_secs(3);

/// Computes hashes, one at a time.
#[derive(Debug)]
pub(super) struct Passwords {
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Passwords {
    /// The hash of a new password as a PHC string.
    pub(super) async fn hash(&self, key: [u8; 32], password: String, random: [u8; 32]) -> Result<String, Refusal> {
        let work = move || {
            let salt = random.first_chunk::<16>()?;
            with(&key)?.hash_password_with_salt(password.as_bytes(), salt).ok().map(|hash| hash.to_string())
        };
        self.computed(work).await?.ok_or_else(Refusal::internal)
    }

    /// Whether a password is the one of a hash. Without a hash it takes as long, and is not.
    pub(super) async fn verify(&self, key: [u8; 32], password: String, hash: Option<String>) -> Result<bool, Refusal> {
        let work = move || {
            let argon = with(&key)?;
            let Some(hash) = hash else {
                argon.hash_password_with_salt(password.as_bytes(), &[0; 16]).ok();
                return Some(false);
            };
            Some(PasswordHash::new(&hash).is_ok_and(|hash| argon.verify_password(password.as_bytes(), &hash).is_ok()))
        };
        self.computed(work).await?.ok_or_else(Refusal::internal)
    }

    async fn computed<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
        let busy = || Refusal::from(Denial::new(ProblemKind::Overloaded, "too many people sign in at this moment").retry_after(2));
        let turn = tokio::time::timeout(TURN_WITHIN, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(busy()) };
        // The work goes on when whoever asked has gone, so the turn goes with it.
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::internal())
    }
}

fn with(key: &[u8; 32]) -> Option<Argon2<'_>> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).ok()?;
    Argon2::new_with_secret(key, Algorithm::Argon2id, Version::V0x13, params).ok()
}

/// What is wrong with a password that somebody wants to have.
pub(super) fn fault(password: &str, email: &str) -> Option<&'static str> {
    let length = password.chars().count();
    if length < PASSWORD_MIN {
        return Some("needs at least 12 characters; a short sentence is good");
    }
    if length > PASSWORD_MAX {
        return Some("may have at most 128 characters");
    }
    let mut characters: Vec<_> = password.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    if characters.len() < 5 {
        return Some("repeats a few characters; take others");
    }
    let name = email.split('@').next().unwrap_or_default();
    if name.len() >= 4 && password.to_lowercase().contains(&name.to_lowercase()) {
        return Some("holds your mail address; take another");
    }
    None
}
