//! The configuration files of a private server, written anew at each start.

use super::{Fsync, Upstream};

/// Who may connect: this machine alone, always with a password.
pub(super) const HBA: &str = "\
# Written at each start by causeway.
host all         all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
";

/// The text of `postgresql.conf`.
pub(super) fn text(port: u16, fsync: Fsync, follows: Option<(&Upstream, &str)>) -> String {
    let mut text = format!(
        "\
# Written at each start by causeway: edits do not last.
listen_addresses = '127.0.0.1'
port = {port}
# No socket file: a path longer than 107 bytes cannot be bound, and data directories can be deep.
unix_socket_directories = ''
max_connections = 200
shared_buffers = 64MB
huge_pages = off
# /dev/shm is 64 MB in many containers.
dynamic_shared_memory_type = mmap
jit = off
wal_level = replica
max_wal_senders = 12
max_replication_slots = 12
# A standby that stays away for long must not fill the disk; it is made anew when it comes back.
max_slot_wal_keep_size = 1GB
min_wal_size = 48MB
hot_standby = on
hot_standby_feedback = on
wal_receiver_status_interval = 1s
# The default of 5 s would be the time to reconnect after each cut.
wal_retrieve_retry_interval = 100ms
wal_receiver_timeout = 10s
wal_sender_timeout = 10s
password_encryption = 'scram-sha-256'
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_line_prefix = '%m [%p] '
log_checkpoints = off
"
    );
    if fsync == Fsync::Off {
        text.push_str("fsync = off\nfull_page_writes = off\n");
    }
    if let Some((upstream, slot)) = follows {
        let conninfo = format!(
            "host=127.0.0.1 port={} user={} password={} application_name={slot}",
            upstream.stream_port,
            super::SUPERUSER,
            conninfo_quote(&upstream.password),
        );
        for (name, value) in [("primary_conninfo", conninfo.as_str()), ("primary_slot_name", slot)] {
            text.push_str(name);
            text.push_str(" = ");
            text.push_str(&guc_quote(value));
            text.push('\n');
        }
        text.push_str("recovery_target_timeline = 'latest'\n");
    }
    text
}

/// Quotes a value inside a libpq connection string.
fn conninfo_quote(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{escaped}'")
}

/// Quotes a value in `postgresql.conf`, where a backslash is an escape too.
fn guc_quote(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('\'', "''");
    format!("'{escaped}'")
}
