//! Who is it: an operator token, or a person's own, in the Authorization header, checked against the replica of this region.
//!
//! Every way to fail looks the same from outside. A valid token is looked up once in five seconds; its secret is checked
//! each time. An unknown one is looked up each time, and only a few such look-ups may be under way or wait, so that
//! guessing can keep neither the database's connections nor their turn from operators who were let in before.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, header};
use model::{
    id::AccountId,
    key::{Digest, KeyId, Layers, Presented, Purpose, Stored},
    problem::{Denial, ProblemKind},
    time::{BootNanos, Now, UtcMicros},
};
use store::{
    account::token::{self, StoredToken},
    operator::OperatorToken,
};
use tokio::sync::Semaphore;

use crate::{
    admin::store_refusal,
    policy::{self, Role},
    refusal::Refusal,
    state::ControlState,
};

/// How long a token's row is taken for current: a revoked operator is out after that.
const CACHE_NANOS: u64 = 5_000_000_000;

/// Rows kept at once; more operators than that work together nowhere.
const CACHE_MAX: usize = 256;

/// Look-ups that may be under way at once: for tokens that were good a while ago, and for all others.
const LOOKUPS_MAX: usize = 4;

/// Look-ups of other tokens that may wait for their turn; more are told to come back.
const WAITING_MAX: usize = 64;

/// How long a request waits for its turn to be looked up.
const LOOKUP_WAIT: Duration = Duration::from_secs(2);

/// Refused log-ins that get a record of their own in each second; the others are counted into the next record.
const REFUSALS_PER_SECOND: u32 = 20;

/// A person who proved to hold a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operator {
    /// The token's public id.
    pub(crate) id: KeyId,
    /// Whose token it is.
    pub(crate) name: String,
    /// What they may be; nothing by a token of their own.
    pub(crate) roles: Vec<Role>,
    /// Whose account it is, where it is a person's own token.
    pub(crate) account: Option<AccountId>,
}

/// A log-in that was refused, with the token's public id as far as the text had the right form.
#[derive(Debug)]
pub(crate) struct RefusedLogin {
    /// The answer.
    pub(crate) refusal: Box<Refusal>,
    /// The public id that was presented.
    pub(crate) token_id: Option<KeyId>,
}

/// Rows of valid tokens of one kind, for a moment. Each kind has its own: whoever guesses at people's tokens takes nothing from operators.
#[derive(Debug)]
pub(crate) struct KnownTokens {
    cache: Mutex<HashMap<KeyId, Cached>>,
    /// Turns of tokens that were good a while ago.
    renewals: Semaphore,
    /// Turns of all others, and places to wait for one.
    lookups: Semaphore,
    waiting: Semaphore,
}

#[derive(Debug, Clone)]
struct Cached {
    read_at: BootNanos,
    digest: Digest,
    pepper_version: u16,
    expires_at: Option<UtcMicros>,
    operator: Operator,
}

impl Default for KnownTokens {
    fn default() -> Self {
        Self {
            cache: Mutex::default(),
            renewals: Semaphore::new(LOOKUPS_MAX),
            lookups: Semaphore::new(LOOKUPS_MAX),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }
}

impl KnownTokens {
    fn cached(&self, id: &KeyId) -> Option<Cached> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(id).cloned()
    }

    fn keep(&self, entry: Cached, now: Now) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_MAX {
            cache.retain(|_, entry| entry.is_fresh(now));
        }
        // Full of fresh entries: then this one is looked up again next time.
        if cache.len() < CACHE_MAX {
            cache.insert(entry.operator.id, entry);
        }
    }

    /// Looks a token up anew the next time: its row has changed.
    pub(crate) fn forget(&self, id: &KeyId) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Lets a test log in without a database.
    #[cfg(test)]
    pub(crate) fn keep_for_test(&self, token: OperatorToken, now: Now) {
        self.keep(Cached::from_row(token, now), now);
    }

    /// The same with a person's own.
    #[cfg(test)]
    pub(crate) fn keep_personal_for_test(&self, token: &StoredToken, now: Now) {
        self.keep(Cached::personal(token, now), now);
    }
}

impl Cached {
    fn is_fresh(&self, now: Now) -> bool {
        now.boot.nanos_since(self.read_at) < CACHE_NANOS
    }

    fn from_row(row: OperatorToken, now: Now) -> Self {
        let roles = policy::roles(&row.role);
        if roles.is_empty() {
            tracing::warn!(token.id = %row.id, "an operator token has a role that this version does not know: it grants nothing");
        }
        Self {
            read_at: now.boot,
            digest: row.digest,
            pepper_version: row.pepper_version,
            expires_at: row.expires_at,
            operator: Operator { id: row.id, name: row.name, roles, account: None },
        }
    }

    fn personal(row: &StoredToken, now: Now) -> Self {
        Self {
            read_at: now.boot,
            digest: row.digest,
            pepper_version: row.pepper_version,
            expires_at: Some(row.expires_at),
            operator: Operator { id: row.id, name: row.account.to_string(), roles: Vec::new(), account: Some(row.account) },
        }
    }
}

/// Which tokens a path takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Operators'.
    Operators,
    /// People's own.
    Personal,
}

impl Wanted {
    const fn purpose(self) -> Purpose {
        match self {
            Self::Operators => Purpose::Operator,
            Self::Personal => Purpose::Personal,
        }
    }
}

/// Finds out who sent a request.
///
/// # Errors
/// 401 in one form for everything that is wrong with the credential; 503 when it cannot be looked up.
pub(crate) async fn authenticate(state: &ControlState, headers: &HeaderMap, wanted: Wanted, now: Now) -> Result<Operator, RefusedLogin> {
    let Some(text) = bearer(headers, wanted)? else { return Err(missing(wanted)) };
    let Some(presented) = Presented::parse(text).filter(|presented| presented.purpose == wanted.purpose()) else {
        return Err(invalid(wanted, None));
    };
    let tokens = state.known_tokens(wanted);
    let cached = tokens.cached(&presented.id);
    let known = cached.as_ref().map(|entry| check(state, &presented, wanted, Some(entry), now));
    let was_good = matches!(known, Some(Ok(_)));
    if let (Some(known), true) = (known, cached.is_some_and(|entry| entry.is_fresh(now))) {
        return known;
    }
    let found = find(state, &presented.id, wanted, was_good, now).await;
    let entry = found.map_err(|refusal| RefusedLogin { refusal: Box::new(refusal), token_id: Some(presented.id) })?;
    let operator = check(state, &presented, wanted, entry.as_ref(), now)?;
    if let Some(entry) = entry {
        tokens.keep(entry, now);
    }
    Ok(operator)
}

/// The one bearer token of the Authorization header (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap, wanted: Wanted) -> Result<Option<&str>, RefusedLogin> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid(wanted, None));
    }
    let Some((scheme, token)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else { return Err(invalid(wanted, None)) };
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(invalid(wanted, None)) }
}

async fn find(state: &ControlState, id: &KeyId, wanted: Wanted, was_good: bool, now: Now) -> Result<Option<Cached>, Refusal> {
    let busy = || Refusal::from(Denial::new(ProblemKind::Overloaded, "too many tokens are being looked up").retry_after(1));
    let tokens = state.known_tokens(wanted);
    let (turns, _place) =
        if was_good { (&tokens.renewals, None) } else { (&tokens.lookups, Some(tokens.waiting.try_acquire().map_err(|_| busy())?)) };
    let Ok(Ok(_turn)) = tokio::time::timeout(LOOKUP_WAIT, turns.acquire()).await else { return Err(busy()) };
    let replica = state.replica().map_err(|error| store_refusal(&error))?;
    let found = match wanted {
        Wanted::Operators => store::operator::find(&replica, id).await.map(|row| row.map(|row| Cached::from_row(row, now))),
        Wanted::Personal => token::find(&replica, id).await.map(|row| row.map(|row| Cached::personal(&row, now))),
    };
    found.map_err(|error| store_refusal(&error))
}

/// The secret is compared also when the id is unknown, so that both take the same time.
fn check(state: &ControlState, presented: &Presented<'_>, wanted: Wanted, entry: Option<&Cached>, now: Now) -> Result<Operator, RefusedLogin> {
    // Ids of both kinds are drawn apart, so one may be that of the other kind.
    let entry = entry.filter(|entry| entry.operator.account.is_some() == (wanted == Wanted::Personal));
    let stored = entry.map(|entry| Stored { digest: entry.digest, peppers: Layers::One(entry.pepper_version) });
    let is_genuine = state.peppers().verify(presented, stored.as_ref());
    let operator =
        entry.filter(|entry| is_genuine && entry.expires_at.is_none_or(|expires_at| now.wall < expires_at)).map(|entry| entry.operator.clone());
    operator.ok_or_else(|| invalid(wanted, Some(presented.id)))
}

fn missing(wanted: Wanted) -> RefusedLogin {
    let denial = Denial::new(
        ProblemKind::CredentialsMissing,
        match wanted {
            Wanted::Operators => "send an operator token: `Authorization: Bearer cw_op_...`",
            Wanted::Personal => "send your own token: `Authorization: Bearer cw_my_...`; the portal gives it, under your account",
        },
    );
    RefusedLogin { refusal: Box::new(denial.into()), token_id: None }
}

fn invalid(wanted: Wanted, token_id: Option<KeyId>) -> RefusedLogin {
    let denial = Denial::new(
        ProblemKind::CredentialsInvalid,
        match wanted {
            Wanted::Operators => "the operator token is not accepted",
            Wanted::Personal => "the token is not accepted; these paths take people's own, which begin with cw_my_",
        },
    );
    RefusedLogin { refusal: Box::new(denial.into()), token_id }
}

/// Thins a flood of refused log-ins before it reaches the access log.
#[derive(Debug, Default)]
pub(crate) struct LoginRefusals {
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    second: u64,
    recorded: u32,
    suppressed: u64,
}

impl LoginRefusals {
    /// How many refusals the next record stands for; `None` when this one is only counted.
    pub(crate) fn admit(&self, now: BootNanos) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.0 / 1_000_000_000;
        if window.second != second {
            window.second = second;
            window.recorded = 0;
        }
        if window.recorded >= REFUSALS_PER_SECOND {
            window.suppressed = window.suppressed.saturating_add(1);
            return None;
        }
        window.recorded += 1;
        Some(std::mem::take(&mut window.suppressed).saturating_add(1))
    }
}

#[cfg(test)]
mod tests;
