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
use rustix::fs::{CWD, RenameFlags};

const PURPOSE: &str = "causeway snapshot 1";
/// A million keys with 250 bytes each, and room.
const BYTES_MAX: u64 = 1 << 30;

/// What is written and synced at once.
const PIECE_BYTES: usize = 256 << 10;

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

    /// Seals and writes an image, and returns its length: a file beside the present one, synced, then one takes the place of the
    /// other.
    ///
    /// In small pieces, each synced, into the file that was in force before the last one: a large sync, new blocks, and blocks that
    /// are given back all hold up the syncs of the access log (ADR 0011).
    ///
    /// # Errors
    /// When the disk does not take it; the old file stays.
    pub fn write(&self, image: &Image) -> Result<u64> {
        let mut nonce = [0_u8; 12];
        aws_lc_rs::rand::SystemRandom::new().fill(&mut nonce).map_err(|_| anyhow::anyhow!("the random source failed"))?;
        let plain = serde_json::to_vec(image).context("the snapshot cannot be written as JSON")?;
        let bytes = seal::seal(&self.key, PURPOSE, nonce, plain)?;
        let length = u64::try_from(bytes.len())?;
        let next = self.path.with_extension("next");
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&next)?;
        for piece in bytes.chunks(PIECE_BYTES) {
            file.write_all(piece)?;
            file.sync_data()?;
        }
        file.set_len(length)?;
        file.sync_all()?;
        self.put_in_force(&next)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(length)
    }

    /// Both files change places where there are two and the file system can do that; else the new one replaces the old.
    fn put_in_force(&self, next: &Path) -> std::io::Result<()> {
        match rustix::fs::renameat_with(CWD, next, CWD, &self.path, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            Err(_) => std::fs::rename(next, &self.path),
        }
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use model::{change::Revisions, id::ConsumerId};

    use super::*;

    fn image_of(consumers: u128) -> Image {
        let consumer = |number| ConsumerRow {
            id: ConsumerId::new(uuid::Uuid::from_u128(number)),
            name: format!("consumer {number}"),
            tenant: "acme".to_owned(),
        };
        Image {
            revisions: Revisions::default(),
            sealed_at: UtcMicros(7),
            document: Document::default(),
            writers: HashMap::new(),
            consumers: (0..consumers).map(consumer).collect(),
            applications: Vec::new(),
            keys: Vec::new(),
        }
    }

    #[test]
    fn each_snapshot_is_read_as_it_was_written_whatever_the_size_of_the_one_before_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = Sealed::in_folder(folder.path(), SecretKey::new([7; 32])).unwrap();
        assert!(sealed.read().unwrap().is_none());

        for consumers in [10_000, 1, 3, 20_000, 0, 5_000] {
            let length = sealed.write(&image_of(consumers)).unwrap();

            assert_eq!(std::fs::metadata(&sealed.path).unwrap().len(), length);
            assert_eq!(sealed.read().unwrap().unwrap().consumers.len() as u128, consumers);
        }
    }

    #[test]
    fn snapshot_that_cannot_be_written_leaves_the_one_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = Sealed::in_folder(folder.path(), SecretKey::new([7; 32])).unwrap();
        sealed.write(&image_of(2)).unwrap();
        std::fs::create_dir(folder.path().join("snapshot.next")).unwrap();

        assert!(sealed.write(&image_of(3)).is_err());
        assert_eq!(sealed.read().unwrap().unwrap().consumers.len(), 2);
    }
}
