-- One step from what the writer has seen; whoever else took the step has taken over.
update control_heartbeat
set
    beat = beat + 1,
    acked = greatest(acked, $1),
    writer = $2,
    writer_rtt_us = $3
where beat = $4
returning beat
