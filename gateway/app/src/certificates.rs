//! Certificate files: read at the start, looked at again while serving, and put in force without closing a connection.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use aws_lc_rs::digest;
use edge::{
    clock::Clock,
    tls::{Certificates, Chain, ChainTable, UnknownHost},
};
use model::secret::SecretText;
use tokio::signal::unix::Signal;

use crate::{
    boot,
    config::{
        ListenerConfig, SecretRef,
        data::{self, DataConfig},
    },
    facts::Facts,
    notify::Notify,
};

/// How often the files are looked at. They are a few kilobytes in the page cache: reading them all is cheaper than trusting
/// modification times, which tools that rename or restore files do not move.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Where the chains of one listener lie.
#[derive(Debug, Clone)]
pub struct Source {
    which: &'static str,
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
        Self { which: "data", entries: std::iter::once(default).chain(own).collect(), unknown }
    }

    /// The chain of the control listener.
    pub fn control(config: &ListenerConfig) -> Self {
        let default = Entry { hosts: Vec::new(), certificate: config.certificate.clone(), key: config.key.clone() };
        Self { which: "control", entries: vec![default], unknown: UnknownHost::Default }
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
            match chain.verify(&entry.hosts, now) {
                Ok(()) => {}
                Err(fault @ edge::tls::ChainFault::Name { .. }) => return Err(fault).with_context(|| self.cannot_be_used(&entry.certificate)),
                Err(fault) => tracing::warn!(listener = self.which, "{path}: {fault}; it is served all the same"),
            }
        }
        let certificates = Certificates::new(self.table(chains)?);
        Ok(Watched { digest: fingerprint(&materials), suspect: None, source: self, certificates })
    }

    /// Everything that can be said against the chains, by place in the node file.
    pub(crate) fn mistakes(&self) -> Vec<(String, String)> {
        let now = Clock.wall().0.div_euclid(1_000_000);
        let mut found = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let place = match index.checked_sub(1) {
                None => format!("{}.certificate", self.which),
                Some(own) => format!("{}.certificates[{own}].certificate", self.which),
            };
            // The variable is set where the node runs, which need not be here.
            if matches!(&entry.key, SecretRef::Env(name) if boot::environment(name).is_none()) {
                continue;
            }
            let checked = self.material(entry).and_then(|material| {
                let chain = self.chain(entry, &material)?;
                chain.verify(&entry.hosts, now).with_context(|| entry.certificate.display().to_string())
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
        let certificate = std::fs::read(path).with_context(|| format!("cannot read the {} listener's certificate {}", self.which, path.display()))?;
        Ok(Material { certificate, key: boot::secret(&format!("{} listener's private key", self.which), &entry.key)? })
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
        format!("the {} listener's certificate {} cannot be used", self.which, path.display())
    }
}

/// Chains in force, and what they were made from.
#[derive(Debug)]
pub struct Watched {
    source: Source,
    certificates: Arc<Certificates>,
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
    /// The chains in force.
    pub fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.certificates)
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
        match self.usable(&materials) {
            Ok(table) => {
                self.certificates.replace(table);
                (self.digest, self.suspect) = (digest, None);
                Look::Replaced
            }
            Err(error) => self.broken(digest, format!("{error:#}"), tell),
        }
    }

    fn usable(&self, materials: &[Material]) -> Result<ChainTable> {
        let chains = self.source.chains(materials)?;
        let now = Clock.wall().0.div_euclid(1_000_000);
        for (entry, chain) in self.source.entries.iter().zip(&chains) {
            chain.verify(&entry.hosts, now).with_context(|| self.source.cannot_be_used(&entry.certificate))?;
        }
        self.source.table(chains)
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
            apply(listener.source.which, look, told, &facts);
        }
        *facts.broken_certificates.lock() = told.iter().flatten().cloned().collect();
        if tell == Tell::Now {
            notify.ready();
        }
    }
}

fn apply(listener: &'static str, look: Look, told: &mut Option<String>, facts: &Facts) {
    match look {
        Look::Unsure => {}
        Look::Same => *told = None,
        Look::Replaced => {
            facts.certificate_reloads.fetch_add(1, Ordering::Relaxed);
            *told = None;
            tracing::info!(listener, "new certificates are in force for handshakes from now on");
        }
        Look::Broken(sentence) => {
            if told.as_ref() != Some(&sentence) {
                tracing::warn!(listener, "{sentence}; what was in force stays");
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
