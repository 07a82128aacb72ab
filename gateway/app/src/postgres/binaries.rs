//! Finds the server binaries of an installed `PostgreSQL`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The oldest major version that the product supports.
const MAJOR_MIN: u32 = 15;

/// The programs that a private cluster needs, all of one version.
const NEEDED: [&str; 5] = ["initdb", "postgres", "pg_basebackup", "pg_controldata", "psql"];

/// What to do when no usable server is installed.
const REMEDY: &str = "install the server binaries with `apt-get install postgresql-15`, or name their directory in \
                      CAUSEWAY_PG_BIN";

/// A directory that holds the server programs of one `PostgreSQL` version, 15 or newer.
#[derive(Debug, Clone)]
pub struct Binaries {
    dir: PathBuf,
    major: u32,
}

impl Binaries {
    /// Finds a usable set of binaries: the `explicit` directory if one is named, else what `pg_config --bindir` names,
    /// else the newest under `/usr/lib/postgresql`.
    ///
    /// # Errors
    /// When the explicit directory is unusable, or when none is named and none is found. The message says what to
    /// install.
    pub fn find(explicit: Option<&Path>) -> Result<Self> {
        if let Some(dir) = explicit {
            return Self::at(dir).with_context(|| format!("{} is not usable; {REMEDY}", dir.display()));
        }

        let mut refusals = Vec::new();
        for dir in candidates() {
            match Self::at(&dir) {
                Ok(found) => return Ok(found),
                Err(error) => refusals.push(format!("{}: {error:#}", dir.display())),
            }
        }
        if refusals.is_empty() {
            bail!("no PostgreSQL server found; {REMEDY}");
        }
        bail!("no usable PostgreSQL server found ({}); {REMEDY}", refusals.join("; "));
    }

    /// The directory that holds the programs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The major version, for example 15.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The path of one program, for example `psql`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn at(dir: &Path) -> Result<Self> {
        for name in NEEDED {
            let path = dir.join(name);
            if !path.is_file() {
                bail!("has no `{name}`");
            }
        }
        let output = Command::new(dir.join("postgres")).arg("--version").output().context("cannot run `postgres --version`")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let major = parse_major(&text).with_context(|| format!("`postgres --version` answered {:?}", text.trim()))?;
        if major < MAJOR_MIN {
            bail!("is PostgreSQL {major}; {MAJOR_MIN} or newer is needed");
        }
        Ok(Self { dir: dir.to_owned(), major })
    }
}

/// Reads the major version out of `postgres (PostgreSQL) 15.18 (Debian ..)` or `postgres (PostgreSQL) 17beta1`.
pub(super) fn parse_major(text: &str) -> Option<u32> {
    let after = text.split("(PostgreSQL)").nth(1)?.trim_start();
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    // `pg_config` may be absent, and on Debian it may name the directory of a server that is not installed.
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        let text = String::from_utf8_lossy(&output.stdout);
        let text = text.trim();
        if output.status.success() && !text.is_empty() {
            found.push(PathBuf::from(text));
        }
    }
    let mut packaged: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let major = entry.file_name().to_str()?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .filter(|(_, dir)| dir.is_dir())
        .collect();
    packaged.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    found.extend(packaged.into_iter().map(|(_, dir)| dir));
    found
}
