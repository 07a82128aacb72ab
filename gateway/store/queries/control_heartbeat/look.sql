-- One statement, so one snapshot. The settings were read last by this very connection, the server started with it alive.
select
    max(head.epoch) as "epoch!",
    (array_agg(head.epoch_id order by head.lane))[1] as "epoch_id!",
    max(head.rev) filter (where head.lane = 'authority') as "authority!",
    max(head.rev) filter (where head.lane = 'structural') as "structural!",
    max(heartbeat.beat) as "beat!",
    max(heartbeat.acked) as "acked!",
    max(heartbeat.writer) as "writer!",
    max(heartbeat.writer_rtt_us) as "writer_rtt_us!",
    pg_is_in_recovery() as "in_recovery!",
    pg_postmaster_start_time() as "started_at!",
    pg_conf_load_time() as "settings_at!",
    current_setting('synchronous_standby_names') as "standbys!"
from control_head as head
cross join control_heartbeat as heartbeat
