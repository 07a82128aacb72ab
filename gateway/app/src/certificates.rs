//! Certificate files: read at the start, looked at again while serving, and put in force without closing a connection.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use aws_lc_rs::digest;
use edge::{
    clock::Clock,
    tls::{Asking, Certificates, Chain, ChainFault, ChainTable, Identities, Identity, UnknownHost},
};
use model::secret::SecretText;
use tokio::signal::unix::Signal;

use crate::{
    boot,
    config::{
        IdentityConfig, ListenerConfig, SecretRef,
        data::{self, DataConfig},
    },
    facts::Facts,
    notify::Notify,
};

/// How often the files are looked at. They are a few kilobytes in the page cache: reading them all is cheaper than trusting
/// modification times, which tools that rename or restore files do not move.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What chains are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A listener, by its section in the node file.
    Listener(&'static str),
    /// An identity towards services, by its name.
    Identity(Box<str>),
}

impl Owner {
    /// Its place in the node file.
    fn place(&self) -> String {
        match self {
            Self::Listener(which) => (*which).to_owned(),
            Self::Identity(name) => format!("identities.{name}"),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(which) => write!(f, "{which} listener"),
            Self::Identity(name) => write!(f, "identity {name}"),
        }
    }
}

/// Where the chains of one listener lie, or the one chain of an identity.
#[derive(Debug, Clone)]
pub struct Source {
    owner: Owner,
    entries: Vec<Entry>,
    unknown: UnknownHost,
}

/// One chain; the first of a listener is its default, and has no hosts.
#[derive(Debug, Clone)]
struct Entry {
    hosts: Vec<String>,
    certificate: PathBuf,
    key: SecretRef,
}

/// The texts of one chain.
#[derive(Debug)]
struct Material {
    certificate: Vec<u8>,
    key: SecretText,
}

impl Source {
    /// The chains of the data listener.
    pub fn data(config: &DataConfig) -> Self {
        let default = Entry { hosts: Vec::new(), certificate: config.certificate.clone(), key: config.key.clone() };
        let own = config.certificates.iter().map(|own| Entry {
            hosts: own.hosts.iter().map(ToString::to_string).collect(),
            certificate: own.certificate.clone(),
            key: own.key.clone(),
        });
        let unknown = match config.unknown_host {
            data::UnknownHost::Default => UnknownHost::Default,
            data::UnknownHost::Refuse => UnknownHost::Refuse,
        };
        Self { owner: Owner::Listener("data"), entries: std::iter::once(default).chain(own).collect(), unknown }
    }

    /// The chain of the control listener.
    pub fn control(config: &ListenerConfig) -> Self {
        let default = Entry { hosts: Vec::new(), certificate: config.certificate.clone(), key: config.key.clone() };
        Self { owner: Owner::Listener("control"), entries: vec![default], unknown: UnknownHost::Default }
    }

    /// The identities towards services.
    pub fn identities(config: &BTreeMap<String, IdentityConfig>) -> Vec<Self> {
        let source = |(name, identity): (&String, &IdentityConfig)| {
            let only = Entry { hosts: Vec::new(), certificate: identity.certificate.clone(), key: identity.key.clone() };
            Self { owner: Owner::Identity(name.as_str().into()), entries: vec![only], unknown: UnknownHost::Default }
        };
        config.iter().map(source).collect()
    }

    /// Reads the chains for the start: what no client would accept today is told and served all the same, because the clock
    /// may be the thing that is wrong.
    ///
    /// # Errors
    /// When a file or a secret cannot be read, cannot be used, or does not name its hosts.
    pub fn start(self) -> Result<Watched> {
        let materials = self.read()?;
        let chains = self.chains(&materials)?;
        let now = Clock.wall().0.div_euclid(1_000_000);
        for (entry, chain) in self.entries.iter().zip(&chains) {
            let path = entry.certificate.display();
            match self.verify(entry, chain, now) {
                Ok(()) => {}
                Err(fault @ ChainFault::Name { .. }) => return Err(fault).with_context(|| self.cannot_be_used(&entry.certificate)),
                Err(fault) => tracing::warn!(owner = %self.owner, "{path}: {fault}; it is used all the same"),
            }
        }
        let in_force = match &self.owner {
            Owner::Listener(_) => InForce::Listener(Certificates::new(self.table(chains)?)),
            Owner::Identity(_) => InForce::Identity(Identity::new(only(chains)?)),
        };
        Ok(Watched { digest: fingerprint(&materials), suspect: None, source: self, in_force })
    }

    fn verify(&self, entry: &Entry, chain: &Chain, now_unix: i64) -> Result<(), ChainFault> {
        match self.owner {
            Owner::Listener(_) => chain.verify(&entry.hosts, now_unix),
            Owner::Identity(_) => chain.verify_for_clients(now_unix),
        }
    }

    /// Everything that can be said against the chains, by place in the node file.
    pub(crate) fn mistakes(&self) -> Vec<(String, String)> {
        let now = Clock.wall().0.div_euclid(1_000_000);
        let mut found = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let place = match index.checked_sub(1) {
                None => format!("{}.certificate", self.owner.place()),
                Some(own) => format!("{}.certificates[{own}].certificate", self.owner.place()),
            };
            // The variable is set where the node runs, which need not be here.
            if matches!(&entry.key, SecretRef::Env(name) if boot::environment(name).is_none()) {
                continue;
            }
            let checked = self.material(entry).and_then(|material| {
                let chain = self.chain(entry, &material)?;
                self.verify(entry, &chain, now).with_context(|| entry.certificate.display().to_string())
            });
            if let Err(error) = checked {
                found.push((place, format!("{error:#}")));
            }
        }
        found
    }

    fn read(&self) -> Result<Vec<Material>> {
        self.entries.iter().map(|entry| self.material(entry)).collect()
    }

    fn material(&self, entry: &Entry) -> Result<Material> {
        let path = &entry.certificate;
        let certificate = std::fs::read(path).with_context(|| format!("cannot read the {}'s certificate {}", self.owner, path.display()))?;
        Ok(Material { certificate, key: boot::secret(&format!("{}'s private key", self.owner), &entry.key)? })
    }

    fn chain(&self, entry: &Entry, material: &Material) -> Result<Chain> {
        Chain::read(&material.certificate, material.key.expose_secret().as_bytes()).with_context(|| self.cannot_be_used(&entry.certificate))
    }

    fn chains(&self, materials: &[Material]) -> Result<Vec<Chain>> {
        self.entries.iter().zip(materials).map(|(entry, material)| self.chain(entry, material)).collect()
    }

    fn table(&self, chains: Vec<Chain>) -> Result<ChainTable> {
        let mut chains = self.entries.iter().map(|entry| entry.hosts.clone()).zip(chains);
        let (_, default) = chains.next().context("a listener needs a certificate")?;
        Ok(ChainTable::new(&default, &chains.collect::<Vec<_>>(), self.unknown))
    }

    fn cannot_be_used(&self, path: &Path) -> String {
        format!("the {}'s certificate {} cannot be used", self.owner, path.display())
    }
}

fn only(chains: Vec<Chain>) -> Result<Chain> {
    chains.into_iter().next().context("an identity needs a certificate")
}

/// Chains in force.
#[derive(Debug, Clone)]
pub enum InForce {
    /// A listener's.
    Listener(Arc<Certificates>),
    /// An identity's.
    Identity(Arc<Identity>),
}

impl InForce {
    /// When the first of the leaf certificates expires, in seconds since 1970.
    pub fn end_unix(&self) -> i64 {
        match self {
            Self::Listener(certificates) => certificates.earliest_end_unix(),
            Self::Identity(identity) => identity.end_unix(),
        }
    }
}

/// The identities among what is watched.
pub fn identities(watched: &[Watched]) -> Identities {
    let named = watched.iter().filter_map(|watched| match (&watched.source.owner, &watched.in_force) {
        (Owner::Identity(name), InForce::Identity(identity)) => Some((name.to_string(), Arc::clone(identity))),
        _ => None,
    });
    Identities::new(named)
}

/// Chains in force, and what they were made from.
#[derive(Debug)]
pub struct Watched {
    source: Source,
    in_force: InForce,
    digest: [u8; 32],
    /// Files that could not be used when they were seen first: they may be half written.
    suspect: Option<[u8; 32]>,
}

/// When a broken file is told: a poll may meet files of which only the first has been replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tell {
    /// When the same content is met again.
    Later,
    /// At once: a person has asked.
    Now,
}

impl Watched {
    /// Whose they are, and the chains in force.
    pub fn served(&self) -> (Owner, InForce) {
        (self.source.owner.clone(), self.in_force.clone())
    }

    /// TLS for a listener over these chains.
    ///
    /// # Errors
    /// When they are an identity's, or the machine has no randomness.
    pub fn server_config(&self, asking: Asking) -> Result<Arc<rustls::ServerConfig>> {
        Ok(edge::tls::server_config(self.certificates()?, asking)?)
    }

    /// A listener's chains in force, now and after each reload.
    ///
    /// # Errors
    /// When they are an identity's.
    pub fn certificates(&self) -> Result<Arc<Certificates>> {
        let InForce::Listener(certificates) = &self.in_force else { anyhow::bail!("an identity is for services, not for a listener") };
        Ok(Arc::clone(certificates))
    }

    /// Looks at the files; puts them in force when they have changed and can be used. `Err` is a sentence about files that
    /// cannot.
    fn look(&mut self, tell: Tell) -> Look {
        let materials = match self.source.read() {
            Ok(materials) => materials,
            Err(error) => return self.broken([0; 32], format!("{error:#}"), tell),
        };
        let digest = fingerprint(&materials);
        if digest == self.digest {
            self.suspect = None;
            return Look::Same;
        }
        match self.replace(&materials) {
            Ok(()) => {
                (self.digest, self.suspect) = (digest, None);
                Look::Replaced
            }
            Err(error) => self.broken(digest, format!("{error:#}"), tell),
        }
    }

    fn replace(&self, materials: &[Material]) -> Result<()> {
        let chains = self.source.chains(materials)?;
        let now = Clock.wall().0.div_euclid(1_000_000);
        for (entry, chain) in self.source.entries.iter().zip(&chains) {
            self.source.verify(entry, chain, now).with_context(|| self.source.cannot_be_used(&entry.certificate))?;
        }
        match &self.in_force {
            InForce::Listener(certificates) => certificates.replace(self.source.table(chains)?),
            InForce::Identity(identity) => identity.replace(only(chains)?),
        }
        Ok(())
    }

    fn broken(&mut self, digest: [u8; 32], sentence: String, tell: Tell) -> Look {
        if tell == Tell::Later && self.suspect != Some(digest) {
            self.suspect = Some(digest);
            return Look::Unsure;
        }
        self.suspect = Some(digest);
        Look::Broken(sentence)
    }
}

/// What a look at the files found.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// What is in force.
    Same,
    /// Something else, which is in force now.
    Replaced,
    /// Something that cannot be used, perhaps because it is not written to the end.
    Unsure,
    /// Something that cannot be used, and why.
    Broken(String),
}

/// Looks at the files every two seconds and at each SIGHUP, for as long as the node runs.
pub async fn watch(mut listeners: Vec<Watched>, mut hang_up: Signal, notify: Arc<Notify>, facts: Arc<Facts>) {
    let mut pulse = tokio::time::interval(LOOK_EVERY);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = vec![None; listeners.len()];
    loop {
        let tell = tokio::select! {
            _ = pulse.tick() => Tell::Later,
            signal = hang_up.recv() => {
                if signal.is_none() {
                    return;
                }
                tracing::info!("SIGHUP: looking at the certificate files");
                notify.reloading();
                Tell::Now
            }
        };
        let looked = tokio::task::spawn_blocking(move || {
            let looks: Vec<Look> = listeners.iter_mut().map(|listener| listener.look(tell)).collect();
            (listeners, looks)
        });
        let Ok((back, looks)) = looked.await else { return };
        listeners = back;
        for ((listener, look), told) in listeners.iter().zip(looks).zip(&mut told) {
            apply(&listener.source.owner, look, told, &facts);
        }
        *facts.broken_certificates.lock() = told.iter().flatten().cloned().collect();
        if tell == Tell::Now {
            notify.ready();
        }
    }
}

fn apply(owner: &Owner, look: Look, told: &mut Option<String>, facts: &Facts) {
    match look {
        Look::Unsure => {}
        Look::Same => *told = None,
        Look::Replaced => {
            facts.certificate_reloads.fetch_add(1, Ordering::Relaxed);
            *told = None;
            tracing::info!(%owner, "new certificates are in force for handshakes from now on");
        }
        Look::Broken(sentence) => {
            if told.as_ref() != Some(&sentence) {
                tracing::warn!(%owner, "{sentence}; what was in force stays");
            }
            *told = Some(sentence);
        }
    }
}

/// Tells contents apart; the lengths keep two files from being read as one.
fn fingerprint(materials: &[Material]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for material in materials {
        for bytes in [material.certificate.as_slice(), material.key.expose_secret().as_bytes()] {
            context.update(&bytes.len().to_le_bytes());
            context.update(bytes);
        }
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests;
