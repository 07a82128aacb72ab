//! Which chain a client gets: by the name that it asks for (RFC 6066 section 3), replaced as a whole while serving.

use std::{collections::HashMap, fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    pki_types::CertificateDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::chain::Chain;

/// What a client gets that asks for a name which no chain is configured for, or for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownHost {
    /// The default chain.
    Default,
    /// An alert, and nothing else: what is served here is not told.
    Refuse,
}

/// The chains of one listener.
#[derive(Debug)]
pub struct ChainTable {
    default: Arc<CertifiedKey>,
    unknown: UnknownHost,
    exact: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// By what follows the asterisk and its dot.
    wildcard: HashMap<Box<str>, Arc<CertifiedKey>>,
    earliest_end_unix: i64,
}

impl ChainTable {
    /// Makes the table of a default chain and of chains for hosts: names, or `*.` and a name for one label in front of it.
    ///
    /// The names of the default chain are known names as well, unless another chain is configured for them.
    pub fn new(default: &Chain, chains: &[(Vec<String>, Chain)], unknown: UnknownHost) -> Self {
        let mut table = Self {
            default: Arc::clone(default.certified()),
            unknown,
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            earliest_end_unix: chains.iter().map(|(_, chain)| chain).chain([default]).map(Chain::not_after_unix).min().unwrap_or(i64::MAX),
        };
        table.enter(default.names(), default);
        for (hosts, chain) in chains {
            table.enter(hosts, chain);
        }
        table
    }

    /// When the first of its leaf certificates expires, in seconds since 1970.
    pub const fn earliest_end_unix(&self) -> i64 {
        self.earliest_end_unix
    }

    /// Whether a certificate is the leaf of one of its chains, byte for byte.
    pub fn holds(&self, leaf: &CertificateDer<'_>) -> bool {
        let mut chains = std::iter::once(&self.default).chain(self.exact.values()).chain(self.wildcard.values());
        chains.any(|chain| chain.cert.first() == Some(leaf))
    }

    fn enter(&mut self, hosts: &[String], chain: &Chain) {
        for host in hosts {
            let host = host.to_ascii_lowercase();
            match host.strip_prefix("*.") {
                Some(rest) => self.wildcard.insert(rest.into(), Arc::clone(chain.certified())),
                None => self.exact.insert(host.into(), Arc::clone(chain.certified())),
            };
        }
    }

    /// The chain for a name; `None` refuses the handshake.
    fn find(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let known = name.and_then(|name| {
            self.exact.get(name).or_else(|| {
                let (label, rest) = name.split_once('.')?;
                self.wildcard.get(rest).filter(|_| !label.is_empty())
            })
        });
        match self.unknown {
            UnknownHost::Default => Some(known.unwrap_or(&self.default)),
            UnknownHost::Refuse => known,
        }
    }
}

/// The chains in force: handshakes that begin read them once, so that a reload touches no connection.
pub struct Certificates {
    table: ArcSwap<ChainTable>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl Certificates {
    /// Starts with a table.
    pub fn new(table: ChainTable) -> Arc<Self> {
        Arc::new(Self { table: ArcSwap::from_pointee(table) })
    }

    /// Puts another table in force for handshakes that begin from now on.
    pub fn replace(&self, table: ChainTable) {
        self.table.store(Arc::new(table));
    }

    /// The table in force.
    pub fn in_force(&self) -> Arc<ChainTable> {
        self.table.load_full()
    }

    /// When the first of the leaf certificates in force expires, in seconds since 1970.
    pub fn earliest_end_unix(&self) -> i64 {
        self.table.load().earliest_end_unix()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.table.load();
        let lower;
        let name = match hello.server_name() {
            Some(name) if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                lower = name.to_ascii_lowercase();
                Some(lower.as_str())
            }
            name => name,
        };
        table.find(name).cloned()
    }
}

#[cfg(test)]
mod tests;
