//! Certificates by which this node proves itself to services, by the names that documents use; replaced one by one while serving.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};

use super::chain::Chain;

/// One certificate in force. Handshakes that begin read it once; connections that are open keep what they showed, and take no more requests
/// once another is in force.
pub struct Identity {
    chain: ArcSwap<Chain>,
    changes: AtomicU64,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// Starts with a chain.
    pub fn new(chain: Chain) -> Arc<Self> {
        Arc::new(Self { chain: ArcSwap::from_pointee(chain), changes: AtomicU64::new(0) })
    }

    /// Puts another chain in force for handshakes that begin from now on.
    pub fn replace(&self, chain: Chain) {
        self.chain.store(Arc::new(chain));
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How often it was replaced. Read before a handshake, it names a chain that is not newer than the one that the handshake shows.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// When the leaf certificate in force expires, in seconds since 1970.
    pub fn end_unix(&self) -> i64 {
        self.chain.load().not_after_unix()
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Shown whatever the service hints at: which issuers it trusts is for it to say, in its answer.
        Some(Arc::clone(self.chain.load().certified()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The identities of a node, as its file names them.
#[derive(Debug, Default)]
pub struct Identities(BTreeMap<Box<str>, Arc<Identity>>);

impl Identities {
    /// Joins identities.
    pub fn new(named: impl IntoIterator<Item = (String, Arc<Identity>)>) -> Self {
        Self(named.into_iter().map(|(name, identity)| (name.into(), identity)).collect())
    }

    /// An identity.
    pub fn get(&self, name: &str) -> Option<&Arc<Identity>> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Identity>)> {
        self.0.iter().map(|(name, identity)| (&**name, identity))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}
