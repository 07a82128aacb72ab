-- Works on both kinds of server. Everything is public but what a WAL receiver receives: that is shown to members of pg_read_all_stats, so
-- of pg_monitor, and is null to all others.
--
-- The order is part of the answer: first whether it is in recovery, then the place in the log, and only then what is received. A standby
-- goes on to another timeline while this runs. A place that was read on the old one is true of the new one too, which has all that the
-- old one had where it left it. The other order would claim the old timeline for a place beyond the fork, where it has something else.
-- `offset 0` keeps both inner selects from being merged into the outer one, and the receiver is asked with what the inner one has found.
select
    seen.in_recovery as "in_recovery!",
    seen.lsn as "lsn?",
    seen.timeline as "timeline?",
    (
        -- In any other state than this one the row may tell of a timeline that is over.
        select receiver.received_tli
        from pg_stat_wal_receiver as receiver
        where receiver.status = 'streaming' and seen.in_recovery and seen.lsn is not null
    ) as "followed_timeline?",
    (select system_identifier from pg_control_system()) as "system_identifier!",
    pg_postmaster_start_time() as "started_at!"
from (
    select
        server.in_recovery,
        case
            when server.in_recovery then pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint
            else pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint
        end as lsn,
        -- The name of a log file holds the timeline that a primary writes.
        case
            when not server.in_recovery then ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer
        end as timeline
    from (select pg_is_in_recovery() as in_recovery offset 0) as server
    offset 0
) as seen
