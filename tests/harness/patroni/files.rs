//! The folder of a cluster, and the configuration of its agents.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::parts::Runner;
use super::{Replication, TTL};

/// The passwords, of private servers and for as long as a run lasts; the first is the superuser's.
pub(super) const PASSWORD: &str = "superuser-of-a-test";
const STREAMING: &str = "replication-of-a-test";
const REWINDING: &str = "rewind-of-a-test";

/// The folder, which goes away with it, and what all members have in common.
#[derive(Debug)]
pub(super) struct Files {
    dir: tempfile::TempDir,
    runner: Runner,
    replication: Replication,
    speaks_etcd3: bool,
    binaries: PathBuf,
}

/// A member's own part.
pub(super) struct Own<'a> {
    pub(super) name: &'a str,
    pub(super) port: u16,
    pub(super) agent_port: u16,
    pub(super) folder: &'a Path,
    /// `host:port` of etcd.
    pub(super) etcd: &'a str,
}

impl Files {
    pub(super) fn new(runner: &Runner, replication: Replication, speaks_etcd3: bool, binaries: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("patroni-").tempdir().context("no temporary folder")?;
        // The servers' user must get to its own folders.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711))?;
        Ok(Self { dir, runner: runner.clone(), replication, speaks_etcd3, binaries: binaries.to_owned() })
    }

    pub(super) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// A folder that belongs to the servers' user.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        self.runner.folder(self.root(), name)
    }

    /// A member's configuration. The settings are those that `docs/operations.md` recommends, but for times, which are short here.
    pub(super) fn text(&self, own: &Own<'_>) -> String {
        let Own { name, port, agent_port, folder, etcd } = own;
        let folder = folder.display();
        let is_strict = self.replication == Replication::Strict;
        let api = if self.speaks_etcd3 { "etcd3" } else { "etcd" };
        let (ttl, binaries) = (TTL.as_secs(), self.binaries.display());
        format!(
            "scope: causeway\n\
             name: {name}\n\
             restapi: {{ listen: \"127.0.0.1:{agent_port}\", connect_address: \"127.0.0.1:{agent_port}\" }}\n\
             {api}: {{ hosts: \"{etcd}\" }}\n\
             bootstrap:\n  \
               dcs:\n    \
                 ttl: {ttl}\n    \
                 loop_wait: 1\n    \
                 retry_timeout: 3\n    \
                 maximum_lag_on_failover: 1048576\n    \
                 synchronous_mode: {is_strict}\n    \
                 synchronous_mode_strict: {is_strict}\n    \
                 primary_start_timeout: 0\n    \
                 failsafe_mode: true\n    \
                 postgresql:\n      \
                   use_pg_rewind: true\n      \
                   use_slots: true\n      \
                   parameters: {{ max_connections: 100, shared_buffers: 32MB, max_wal_size: 256MB, wal_retrieve_retry_interval: 500ms }}\n  \
               initdb: [ {{ encoding: UTF8 }}, {{ locale: C }}, data-checksums, {{ auth: scram-sha-256 }} ]\n\
             postgresql:\n  \
               listen: \"127.0.0.1:{port}\"\n  \
               connect_address: \"127.0.0.1:{port}\"\n  \
               data_dir: {folder}/data\n  \
               bin_dir: {binaries}\n  \
               pgpass: {folder}/pgpass\n  \
               remove_data_directory_on_rewind_failure: true\n  \
               remove_data_directory_on_diverged_timelines: true\n  \
               parameters: {{ unix_socket_directories: \"\" }}\n  \
               pg_hba:\n  \
               - host all all 127.0.0.1/32 scram-sha-256\n  \
               - host replication replicator 127.0.0.1/32 scram-sha-256\n  \
               authentication:\n    \
                 superuser: {{ username: postgres, password: {PASSWORD} }}\n    \
                 replication: {{ username: replicator, password: {STREAMING} }}\n    \
                 rewind: {{ username: rewinder, password: {REWINDING} }}\n"
        )
    }
}
