-- Of the process that has the row alone. Until the process before has ended, its bound holds too.
update node
set
    region = $2,
    epoch = $4,
    authority = $5,
    structural = $6,
    nack_structural = $7,
    nack_message = $8,
    structural_epoch = $9,
    deny_bound_ms = case when not $11 then $10 when deny_bound_ms is not null then greatest(deny_bound_ms, $10) end,
    staleness_ms = $12,
    trouble = $13,
    last_seen = now()
where name = $1 and incarnation = $3 and bound_incarnation = $3
