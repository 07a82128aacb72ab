//! Tokens that were verified a moment ago, so that the same text need not be read and its signature checked again (ADR 0019).
//!
//! What is remembered is that a text holds by certain rules and a certain key set, and what it says. Everything that can change is looked at
//! each time by the caller: dates, denials, what it is bound to, its application. Other rules or another key set than before is no hit.

use std::{
    fmt,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::digest::{SHA256, digest};
use model::{
    id::ApplicationId,
    jwt::{issuer::Rules, keys::KeySet, token::KeyHint},
    structure::identity::TokenRule,
    time::UtcMicros,
};
use quick_cache::{Weighter, sync::Cache};

use super::principal::Token;

/// For a node: some 20,000 tokens. Only those that hold take up room, and those that come again push out those that do not.
const BYTES_MAX: u64 = 16 << 20;
/// What one takes beside its texts: itself, its key and its place.
const BYTES_OF_ONE: usize = 600;

/// A token's text, by its hash: the text itself is a secret, and is kept nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(text: &str) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Self(out)
    }
}

/// A token that held.
pub(super) struct Verdict {
    /// It, and the rules that it was held against.
    pub(super) token: Arc<Token>,
    /// The application that it stood for.
    pub(super) application: ApplicationId,
    /// From when on it holds, if it says so.
    pub(super) not_before: Option<UtcMicros>,
    /// What its header offered as a key.
    pub(super) hints: Box<[KeyHint]>,
    /// The set that its key was in. A set that is replaced is let go of, and no other one takes its place while this looks at it.
    pub(super) keys: Weak<KeySet>,
}

impl Verdict {
    /// Whether verifying it again, by the same rules and this key set, would say the same.
    pub(super) fn holds(&self, keys: &Arc<KeySet>, now: UtcMicros) -> bool {
        let latest = now.plus_seconds(i64::from(self.token.rules.leeway_seconds()));
        let has_begun = [self.not_before, self.token.issued_at].into_iter().flatten().all(|at| at <= latest);
        std::ptr::eq(self.keys.as_ptr(), Arc::as_ptr(keys)) && has_begun && now < self.token.until
    }
}

/// A text under certain rules. The verdict keeps the rules alive, so that no others are ever at their place.
type Key = (Fingerprint, usize);

fn place(rules: &Arc<Rules>) -> usize {
    Arc::as_ptr(rules).addr()
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Arc<Verdict>> for Weight {
    fn weight(&self, _: &Key, verdict: &Arc<Verdict>) -> u64 {
        let Token { subject, id, client, scopes, .. } = &*verdict.token;
        let texts = subject.len() + id.as_deref().map_or(0, str::len) + client.as_deref().map_or(0, str::len);
        let scopes: usize = scopes.iter().map(|scope| scope.len() + size_of::<Box<str>>()).sum();
        u64::try_from(BYTES_OF_ONE + texts + scopes).unwrap_or(u64::MAX)
    }
}

/// The tokens of a node that held.
#[derive(Default)]
pub struct Verdicts {
    /// Made by the first token: a node without any has none.
    map: OnceLock<Cache<Key, Arc<Verdict>, Weight>>,
    hits: AtomicU64,
    anew: AtomicU64,
}

/// How many alone: who they are about is nobody's business.
impl fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdicts").field("tokens", &self.map.get().map_or(0, Cache::len)).finish_non_exhaustive()
    }
}

impl Verdicts {
    /// What was found about a text by one of these rules.
    pub(super) fn find<'r>(&self, text: Fingerprint, rules: &'r [TokenRule]) -> Option<(&'r TokenRule, Arc<Verdict>)> {
        let map = self.map.get()?;
        rules.iter().find_map(|rule| Some((rule, map.get(&(text, place(&rule.rules)))?)))
    }

    /// Remembers a token that holds.
    pub(super) fn keep(&self, text: Fingerprint, verdict: Verdict) {
        let map = self.map.get_or_init(|| Cache::with_weighter(4_096, BYTES_MAX, Weight));
        map.insert((text, place(&verdict.token.rules)), Arc::new(verdict));
        self.anew.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a token that needed no second look at its signature.
    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Tokens that got their callers in: how many were known already, and how many were verified.
    pub fn counts(&self) -> [(&'static str, u64); 2] {
        [("known", self.hits.load(Ordering::Relaxed)), ("verified", self.anew.load(Ordering::Relaxed))]
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.map.get().map_or(0, Cache::weight)
    }
}

#[cfg(test)]
mod tests;
