-- Works on both kinds of server; everything is public. The name of a log file holds the timeline that a primary writes.
select
    pg_is_in_recovery() as "in_recovery!",
    case
        when pg_is_in_recovery() then pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint
        else pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint
    end as "lsn?",
    case
        when pg_is_in_recovery() then null
        else ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer
    end as "timeline?",
    (select system_identifier from pg_control_system()) as "system_identifier!"
