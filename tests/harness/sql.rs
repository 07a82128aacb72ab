//! Questions to a private `PostgreSQL` past the product: what the database itself says.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use app::postgres::{Binaries, SUPERUSER};

/// A superuser's way into one server of a development deployment.
#[derive(Clone)]
pub struct Sql {
    psql: PathBuf,
    host: IpAddr,
    port: u16,
    password: String,
}

impl Sql {
    /// A way into the server on `port`, with the password that the standby in `standby_data_dir` streams with.
    ///
    /// # Errors
    /// When no binaries are installed or the standby's configuration holds no password.
    pub fn open(port: u16, standby_data_dir: &Path) -> Result<Self> {
        let conf = std::fs::read_to_string(standby_data_dir.join("postgresql.conf"))
            .with_context(|| format!("cannot read the configuration in {}", standby_data_dir.display()))?;
        let password = conninfo(&conf).and_then(password).context("the standby's configuration names no password")?;
        Self::at(Ipv4Addr::LOCALHOST.into(), port, &password)
    }

    /// A way into the server at an address, with the superuser's password.
    ///
    /// # Errors
    /// When no binaries are installed.
    pub(crate) fn at(host: IpAddr, port: u16, password: &str) -> Result<Self> {
        Ok(Self { psql: Binaries::find(None)?.program("psql"), host, port, password: password.to_owned() })
    }

    /// The same for another server of the deployment.
    #[must_use]
    pub fn on(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }

    /// The superuser's password.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// Runs statements and returns the bare rows, columns separated by `|`.
    ///
    /// # Errors
    /// When the server does not answer or refuses a statement.
    pub async fn ask(&self, database: &str, statements: &str) -> Result<Vec<String>> {
        let output = tokio::process::Command::new(&self.psql)
            .args(["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-h", &self.host.to_string()])
            .args(["-U", SUPERUSER, "-d", database, "-p", &self.port.to_string()])
            .args(["-c", statements])
            .env("PGPASSWORD", &self.password)
            .env("PGCONNECT_TIMEOUT", "5")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot start psql")?;
        ensure!(output.status.success(), "psql failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// A dump of a database in plain form, all schemas and tables.
    ///
    /// # Errors
    /// When `pg_dump` is not there, or the server refuses.
    pub async fn dump(&self, database: &str) -> Result<Vec<u8>> {
        let output = tokio::process::Command::new(self.psql.with_file_name("pg_dump"))
            .args(["--format", "plain", "--no-password", "-h", &self.host.to_string(), "-U", SUPERUSER, "-p", &self.port.to_string(), database])
            .env("PGPASSWORD", &self.password)
            .env("PGCONNECT_TIMEOUT", "5")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot start pg_dump")?;
        ensure!(output.status.success(), "pg_dump failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(output.stdout)
    }
}

impl std::fmt::Debug for Sql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sql").field("port", &self.port).finish_non_exhaustive()
    }
}

/// The value of `primary_conninfo` as the file holds it, without its outer quotes.
pub(crate) fn conninfo(conf: &str) -> Option<&str> {
    let line = conf.lines().find(|line| line.starts_with("primary_conninfo"))?;
    let value = line.split_once('=')?.1.trim();
    value.strip_prefix('\'')?.strip_suffix('\'')
}

/// The password in such a value; a development deployment's passwords hold no quotes.
fn password(conninfo: &str) -> Option<String> {
    let (_, rest) = conninfo.split_once("password=''")?;
    let (password, _) = rest.split_once("''")?;
    Some(password.to_owned())
}
