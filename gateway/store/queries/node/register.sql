-- The process that begins has the row from now on: its number is above all before. Until the process before has ended, its bound holds
-- too, and where it has named none, nobody knows it.
insert into node (
    name, region, incarnation, epoch, authority, structural, nack_structural, nack_message, structural_epoch, deny_bound_ms,
    staleness_ms, trouble, bound_incarnation
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $12, $13, $3)
on conflict (name) do update
set
    region = excluded.region,
    incarnation = greatest(node.incarnation + 1, excluded.incarnation),
    epoch = excluded.epoch,
    authority = excluded.authority,
    structural = excluded.structural,
    nack_structural = excluded.nack_structural,
    nack_message = excluded.nack_message,
    structural_epoch = excluded.structural_epoch,
    deny_bound_ms = case
        when not $11 then excluded.deny_bound_ms
        when node.bound_incarnation = node.incarnation then greatest(node.deny_bound_ms, excluded.deny_bound_ms)
    end,
    bound_incarnation = greatest(node.incarnation + 1, excluded.incarnation),
    epoch_id = null,
    acked = null,
    staleness_ms = excluded.staleness_ms,
    trouble = excluded.trouble,
    last_seen = now()
returning incarnation
