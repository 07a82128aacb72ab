//! Verifies what a caller has signed of a request (RFC 9421), and knows which nonces were used.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use model::{
    id::ApplicationId,
    problem::{Denial, ProblemKind},
    signature::{
        self, Fault,
        base::Asked,
        digest::{self, Digests},
        key::Signer,
        rule::{Content, Need, Rules},
    },
    snapshot::Snapshot,
    structure::{Route, identity::SignatureRule},
    time::{BootNanos, UtcMicros},
};
use uuid::Uuid;

use super::{
    principal::subject_id,
    replay::{NONCE_SLOT_NANOS, Replays, Used},
};
use crate::{head::Head, route::Matched, websocket::wish::Wish};

/// What a client waits before it tries again where too many nonces are remembered: the oldest go after minutes.
const RETRY_SECONDS: u64 = 30;

/// A signature that holds.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Whose.
    pub signer: Arc<Signer>,
    /// What it was held against.
    pub rules: Arc<Rules>,
    /// Signer and application as one number: limits are told apart by it.
    pub subject_id: Uuid,
    /// What the content must be, if the signature covers it.
    pub digests: Option<Digests>,
}

impl Signed {
    /// Until when it speaks for its signer, if nothing changes. Its dates say when a request may begin, and that is over: what has begun
    /// ends with its signer.
    pub(super) const UNTIL: UtcMicros = UtcMicros(i64::MAX);

    /// The application that it stands for now, if its signer is still one, by the same key.
    pub(super) fn application(&self, snapshot: &Snapshot) -> Option<ApplicationId> {
        let signer = snapshot.structure.signers.get(&self.signer.name).filter(|signer| signer.key == self.signer.key)?;
        snapshot.authority.application_ids.get(&*signer.application).copied()
    }

    /// Whether a route's rule would take it again: the same signer, and nothing else asked of it.
    pub(crate) fn is_taken(&self, rule: &SignatureRule) -> bool {
        rule.rules == self.rules && rule.signers.get(&self.signer.name).is_some_and(|signer| signer.key == self.signer.key)
    }
}

/// What a node knows about signatures: nonces that were used, and what became of how many.
#[derive(Debug)]
pub struct Signatures {
    nonces: Replays,
    taken: AtomicU64,
    refused: [AtomicU64; Fault::ALL.len()],
}

impl Default for Signatures {
    fn default() -> Self {
        Self { nonces: Replays::by_slots_of(NONCE_SLOT_NANOS), taken: AtomicU64::new(0), refused: [const { AtomicU64::new(0) }; Fault::ALL.len()] }
    }
}

impl Signatures {
    /// Signatures that got their callers in.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Those that did not, with the names of the reasons.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Fault::ALL.iter().zip(&self.refused).map(|(why, count)| (why.code(), count.load(Ordering::Relaxed)))
    }

    fn count(&self, why: Fault) {
        let place = Fault::ALL.iter().position(|known| *known == why).and_then(|at| self.refused.get(at));
        if let Some(count) = place {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Uses a nonce up.
    fn spend(&self, signer: &Signer, nonce: u128, now: BootNanos) -> Result<(), Fault> {
        self.nonces.use_up(nonce, share(&signer.name), now).map_err(|used| match used {
            Used::Before => Fault::Replayed,
            Used::Full => Fault::NoncesFull,
        })
    }

    /// Verifies the signature of a request. What it covers of the content is for [`Self::hold`] to look at.
    ///
    /// # Errors
    /// `credentials-invalid`, the same for everything that is wrong with it: why is counted, for operators. `overloaded` where too many nonces
    /// are remembered.
    pub(super) fn verify(
        &self,
        rule: &SignatureRule,
        head: &Head,
        content: Content,
        matched: &Matched<'_>,
        now: model::time::Now,
    ) -> Result<Arc<Signed>, Denial> {
        let parts = &head.parts;
        let method = if head.wish == Some(Wish::Connect) { "CONNECT" } else { parts.method.as_str() };
        let asked = Asked { method, uri: &parts.uri, version: parts.version, headers: &parts.headers };
        let verified = signature::verify(asked, content, |name| rule.signers.get(name), &rule.rules, now.wall);
        let found = verified.and_then(|(signer, proved)| {
            let application = matched.snapshot().authority.application_ids.get(&*signer.application).copied();
            let application = application.ok_or(Fault::ApplicationUnknown)?;
            if let Some(nonce) = proved.nonce {
                // Last of all: only a signature that holds takes up room.
                self.spend(signer, nonce, now.boot)?;
            }
            let subject_id = subject_id(application, "signer", &signer.name);
            Ok(Signed { signer: Arc::clone(signer), rules: Arc::clone(&rule.rules), subject_id, digests: proved.digests })
        });
        match found {
            Ok(signed) => {
                self.taken.fetch_add(1, Ordering::Relaxed);
                Ok(Arc::new(signed))
            }
            Err(why) => Err(self.denial(why, matched.route(), &rule.rules)),
        }
    }

    /// Holds the content against what was signed of it.
    ///
    /// # Errors
    /// `credentials-invalid`.
    pub fn hold(&self, digests: &Digests, content: &[u8], route: &Route) -> Result<(), Denial> {
        if digests.are_of(content) {
            return Ok(());
        }
        self.refuse(Fault::DigestWrong, route);
        let text = "the content is another than its signed Content-Digest says; nothing was sent to the service";
        Err(Denial::new(ProblemKind::CredentialsInvalid, text))
    }

    fn refuse(&self, why: Fault, route: &Route) {
        self.count(why);
        tracing::debug!(route = &*route.name, reason = why.code(), "a signature was refused");
    }

    fn denial(&self, why: Fault, route: &Route, rules: &Rules) -> Denial {
        self.refuse(why, route);
        if why == Fault::NoncesFull {
            let text = "too many signatures came with nonces; whether this one was used already could not be told later";
            return Denial::new(ProblemKind::Overloaded, text).retry_after(RETRY_SECONDS);
        }
        Denial::new(ProblemKind::CredentialsInvalid, wanted(rules))
    }
}

/// What every signature of the route has to be: nothing about the one that came.
fn wanted(rules: &Rules) -> String {
    let mut components: Vec<&str> = rules.wanted().collect();
    components.dedup();
    let content = if rules.digest == Need::Required { format!(", {} where there is content", digest::NAME) } else { String::new() };
    let nonce = if rules.nonce == Need::Required { " and a nonce" } else { "" };
    format!(
        "the signature is not accepted; one that is has keyid, created of the last {} s{nonce}, covers {}{content}, and is used once if it has a nonce",
        rules.age_seconds_max,
        components.join(", "),
    )
}

/// By whom a nonce is remembered: one signer cannot shut out the others.
fn share(name: &str) -> u64 {
    let (_, low) = subject_id(ApplicationId::new(Uuid::nil()), "share", name).as_u64_pair();
    low
}

#[cfg(test)]
mod tests;
