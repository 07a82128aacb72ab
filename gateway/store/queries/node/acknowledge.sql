-- In one round trip, and without waiting for a standby: what was acknowledged is true whether this row is lost or not.
with unsynced as materialized (
    select set_config('synchronous_commit', 'off', true) as setting
),

reported as (
    update node
    set
        epoch_id = $3,
        acked = $4
    from unsynced
    where name = $1 and incarnation = $2 and bound_incarnation = $2 and unsynced.setting = 'off'
    returning name
),

forgotten as (
    delete from node_ack
    where name = $1 and acked_at < now() - interval '1 hour'
)

insert into node_ack (name, epoch_id, authority)
select
    name,
    $3,
    $4
from reported
-- A process that has started since comes to what the one before has acknowledged.
on conflict (name, epoch_id, authority) do update set acked_at = node_ack.acked_at
returning acked_at
