-- One statement over one connection: what is read here is confirmed by what this connection reads later (see control_heartbeat/look.sql).
-- The place in the log is read after the snapshot of the heartbeat: it is at least as far as that, and what is farther asks more of a standby.
select
    heartbeat.beat,
    heartbeat.acked,
    heartbeat.writer,
    heartbeat.writer_rtt_us,
    case when not server.in_recovery then pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint end as "lsn?",
    case
        when not server.in_recovery then ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer
    end as "timeline?",
    (select system_identifier from pg_control_system()) as "system_identifier!",
    pg_postmaster_start_time() as "started_at!",
    pg_conf_load_time() as "settings_at!",
    current_setting('synchronous_standby_names') as "standbys!",
    has_table_privilege('causeway.heartbeat', 'update') as "may_beat!"
from causeway.heartbeat as heartbeat
cross join (select pg_is_in_recovery() as in_recovery offset 0) as server
