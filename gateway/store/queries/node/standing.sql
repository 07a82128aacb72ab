-- How each registered node stands to a revision; when it acknowledged it, or a later one of its epoch.
select
    clock.now as "now!",
    node.name as "name?",
    node.region as "region?",
    node.deny_bound_ms as "deny_bound_ms?",
    coalesce(node.epoch_id = $1 and node.acked >= $2, false) as "knows!",
    (
        select min(node_ack.acked_at)
        from node_ack
        where node_ack.name = node.name and node_ack.epoch_id = $1 and node_ack.authority >= $2
    ) as acked_at
from (select clock_timestamp() as now) as clock
left join node on true
order by node.region, node.name
limit 1000
