//! Makes a data directory: locks it, fills it (`initdb`, or a base copy), and judges whether an old copy can go on.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use zeroize::Zeroizing;

use super::child::Launch;
use super::directory::remove;
use super::tool::{finish, psql};
use super::{Binaries, Cluster, Fsync, SUPERUSER, Upstream};

impl Cluster {
    pub(super) fn open(
        binaries: &Binaries,
        dir: &Path,
        password: Zeroizing<String>,
        fsync: Fsync,
        follows: Option<(Upstream, String)>,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let dir = dir.canonicalize().with_context(|| format!("cannot resolve {}", dir.display()))?;
        let launch = Launch::into_dir(&dir)?;
        let lock = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("lock"))
            .with_context(|| format!("cannot write to {}", dir.display()))?;
        if let Err(error) = lock.try_lock() {
            bail!(
                "the database in {} is in use by another running process ({error}); stop that one or choose another \
                 data directory",
                dir.display()
            );
        }
        let data = dir.join("data");
        Ok(Self { binaries: binaries.clone(), launch, dir, data, port: 0, password, fsync, follows, child: None, kept: None, _lock: lock })
    }

    /// Whether usable data is there.
    pub(super) fn is_made(&self) -> Result<bool> {
        let file = self.data.join("PG_VERSION");
        let Ok(text) = std::fs::read_to_string(&file) else {
            return Ok(false);
        };
        let ours = self.binaries.major().to_string();
        ensure!(
            text.trim() == ours,
            "{} was made by PostgreSQL {}, but the binaries in {} are {ours}; name the right ones in CAUSEWAY_PG_BIN, or \
             remove the directory to start afresh",
            self.data.display(),
            text.trim(),
            self.binaries.dir().display()
        );
        Ok(true)
    }

    pub(super) async fn init(&self) -> Result<()> {
        let fresh = self.fresh()?;
        let secret = self.dir.join("password");
        self.write(&secret, &format!("{}\n", self.password.as_str()))?;
        let mut command = self.launch.tool(&self.binaries.program("initdb"));
        command.arg("--pgdata").arg(&fresh).arg("--pwfile").arg(&secret).args(["--username", SUPERUSER, "--auth=scram-sha-256"]).args([
            "--encoding=UTF8",
            "--no-locale",
            "--no-instructions",
        ]);
        if self.fsync == Fsync::Off {
            command.arg("--no-sync");
        }
        let made = finish(command, "initdb").await;
        drop(std::fs::remove_file(&secret));
        made?;
        self.adopt(&fresh)
    }

    pub(super) async fn copy(&self, source: &Source<'_>, slot: &str) -> Result<()> {
        let fresh = self.fresh()?;
        let mut command = self.launch.tool(&self.binaries.program("pg_basebackup"));
        command
            .arg("--pgdata")
            .arg(&fresh)
            .args(["--host=127.0.0.1", "--no-password", "--checkpoint=fast"])
            .arg(format!("--port={}", source.upstream.port))
            .args(["--username", SUPERUSER, "--wal-method=stream"])
            .args(["--no-manifest", "--slot", slot])
            .env("PGPASSWORD", source.upstream.password.as_str());
        if self.fsync == Fsync::Off {
            command.arg("--no-sync");
        }
        finish(command, "pg_basebackup").await?;
        self.write(&fresh.join("standby.signal"), "")?;
        self.adopt(&fresh)
    }

    /// An absent path beside the data, so that a set-up cut short never looks like data.
    pub(super) fn fresh(&self) -> Result<PathBuf> {
        let fresh = self.dir.join("data.new");
        remove(&fresh)?;
        // The server's user makes `data.new` itself, so the directory must be its own.
        self.launch.give(&self.dir)?;
        Ok(fresh)
    }

    pub(super) fn adopt(&self, fresh: &Path) -> Result<()> {
        remove(&self.data)?;
        std::fs::rename(fresh, &self.data).with_context(|| format!("cannot name {}", self.data.display()))
    }

    /// Whether this copy can go on following: same cluster, not ahead on a timeline of its own, still a standby.
    pub(super) async fn still_follows(&self, source: &Source<'_>) -> Result<bool> {
        if !self.data.join("standby.signal").exists() {
            return Ok(false);
        }
        let mut command = self.launch.tool(&self.binaries.program("pg_controldata"));
        command.arg(&self.data);
        let Ok(text) = finish(command, "pg_controldata").await else {
            return Ok(false);
        };
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().parse::<u64>().ok()
        };
        let ours = field("Database system identifier").zip(field("Latest checkpoint's TimeLineID"));
        let (identifier, timeline) = source.identity().await?;
        Ok(ours.is_some_and(|(id, tli)| id == identifier && tli <= timeline))
    }

    /// Writes a file that the server's user owns and nobody else may read.
    pub(super) fn write(&self, path: &Path, text: &str) -> Result<()> {
        let written = (|| {
            drop(std::fs::remove_file(path));
            let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
            std::io::Write::write_all(&mut file, text.as_bytes())
        })();
        written.with_context(|| format!("cannot write {}", path.display()))?;
        self.launch.give(path)
    }
}

/// The server that a standby copies.
pub(super) struct Source<'a> {
    pub(super) binaries: &'a Binaries,
    pub(super) upstream: &'a Upstream,
}

impl Source<'_> {
    /// Makes the slot when it is missing; true when it was there already.
    pub(super) async fn ensure_slot(&self, slot: &str) -> Result<bool> {
        let text = self.ask(&[("slot", slot)], include_str!("ensure_slot.sql")).await?;
        Ok(text.trim() == "kept")
    }

    /// The system identifier and the timeline.
    pub(super) async fn identity(&self) -> Result<(u64, u64)> {
        let text = self.ask(&[], include_str!("identity.sql")).await?;
        let parsed = text.trim().split_once(' ').and_then(|(id, timeline)| Some((id.parse().ok()?, timeline.parse().ok()?)));
        parsed.with_context(|| format!("the upstream's identity reads {text:?}"))
    }

    pub(super) async fn ask(&self, variables: &[(&str, &str)], statements: &str) -> Result<String> {
        let Upstream { port, password, .. } = self.upstream;
        psql(self.binaries, *port, password, "postgres", variables, statements)
            .await
            .with_context(|| format!("the upstream on port {port} does not answer"))
    }
}
