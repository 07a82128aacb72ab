-- A late report of an earlier start must not stand in for the present one's. Until the process before has ended, its bound holds too.
insert into node (
    name, region, incarnation, epoch, authority, structural, nack_structural, nack_message, structural_epoch, deny_bound_ms,
    staleness_ms, trouble
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $12, $13)
on conflict (name) do update
set
    region = excluded.region,
    incarnation = excluded.incarnation,
    epoch = excluded.epoch,
    authority = excluded.authority,
    structural = excluded.structural,
    nack_structural = excluded.nack_structural,
    nack_message = excluded.nack_message,
    structural_epoch = excluded.structural_epoch,
    deny_bound_ms = case when $11 then greatest(node.deny_bound_ms, excluded.deny_bound_ms) else excluded.deny_bound_ms end,
    staleness_ms = excluded.staleness_ms,
    trouble = excluded.trouble,
    last_seen = now()
where node.incarnation <= excluded.incarnation
