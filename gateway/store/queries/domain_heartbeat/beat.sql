-- As control_heartbeat/beat.sql, in the database of a fronted service.
update causeway.heartbeat
set
    beat = beat + 1,
    acked = greatest(acked, $1),
    writer = $2,
    writer_rtt_us = $3
where beat = $4
returning beat
