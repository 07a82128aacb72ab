//! The last good snapshot on disk, sealed, so that a node can start without a database.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use aws_lc_rs::rand::SecureRandom;
use model::{
    authority::Authority,
    change::{ApplicationRow, ConsumerRow, KeyRow},
    document::Document,
    seal,
    secret::SecretKey,
    snapshot::{Image, Snapshot},
    time::UtcMicros,
};

const PURPOSE: &str = "causeway snapshot 1";
/// A million keys with 250 bytes each, and room.
const BYTES_MAX: u64 = 1 << 30;

/// The sealed snapshot's place and key.
#[derive(Debug, Clone)]
pub struct Sealed {
    path: PathBuf,
    key: SecretKey,
}

impl Sealed {
    /// Names the file in a state folder, which is made when it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn in_folder(folder: &Path, key: SecretKey) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the state folder {}", folder.display()))?;
        Ok(Self { path: folder.join("snapshot.sealed"), key })
    }

    /// Reads and opens the image; `None` when there is none.
    ///
    /// # Errors
    /// When the file does not open: another key, or altered. It is left as it is.
    pub fn read(&self) -> Result<Option<Image>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.path.display())),
        };
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", self.path.display()))?;
        let plain = seal::open(&self.key, PURPOSE, &bytes).with_context(|| format!("the sealed snapshot {} does not open", self.path.display()))?;
        let image = serde_json::from_slice(&plain).with_context(|| format!("the sealed snapshot {} is of another version", self.path.display()))?;
        Ok(Some(image))
    }

    /// Seals and writes an image: a new file, synced, renamed over the old one, and the folder synced.
    ///
    /// # Errors
    /// When the disk does not take it; the old file stays.
    pub fn write(&self, image: &Image) -> Result<()> {
        let mut nonce = [0_u8; 12];
        aws_lc_rs::rand::SystemRandom::new().fill(&mut nonce).map_err(|_| anyhow::anyhow!("the random source failed"))?;
        let plain = serde_json::to_vec(image).context("the snapshot cannot be written as JSON")?;
        let bytes = seal::seal(&self.key, PURPOSE, nonce, plain)?;
        let next = self.path.with_extension("next");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&next, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

/// What a snapshot was made from, as rows again.
pub fn image(snapshot: &Snapshot, document: &Document, sealed_at: UtcMicros) -> Image {
    let authority: &Authority = &snapshot.authority;
    let texts = |scopes: &[Box<str>]| scopes.iter().map(|scope| scope.clone().into_string()).collect::<Vec<_>>();
    Image {
        revisions: snapshot.revisions,
        sealed_at,
        document: document.clone(),
        writers: (*snapshot.writers).clone(),
        consumers: authority
            .consumers
            .iter()
            .map(|(id, consumer)| ConsumerRow { id: *id, name: consumer.name.to_string(), tenant: consumer.tenant.to_string() })
            .collect(),
        applications: authority
            .applications
            .iter()
            .map(|(id, application)| ApplicationRow {
                id: *id,
                name: application.name.to_string(),
                consumer: application.consumer,
                plan: application.plan.as_deref().map(str::to_owned),
                scopes: texts(&application.scopes),
            })
            .collect(),
        keys: authority
            .keys
            .iter()
            .map(|(id, key)| KeyRow {
                id: *id,
                application: key.application,
                digest: key.digest.0,
                pepper_version: key.pepper_version,
                scopes: key.scopes.as_deref().map(texts),
                state: key.state,
                expires_at: key.expires_at,
            })
            .collect(),
    }
}
