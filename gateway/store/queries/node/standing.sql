-- How each registered node stands to a revision; when it acknowledged it, or a later one of its epoch. What a process of this version has
-- said does not speak for one of an earlier version that has the row now.
select
    clock.now as "now!",
    node.name as "name?",
    node.region as "region?",
    case when node.bound_incarnation = node.incarnation then node.deny_bound_ms end as deny_bound_ms,
    coalesce(node.bound_incarnation = node.incarnation and node.epoch_id = $1 and node.acked >= $2, false) as "knows!",
    (
        select min(node_ack.acked_at)
        from node_ack
        where node_ack.name = node.name and node_ack.epoch_id = $1 and node_ack.authority >= $2
    ) as acked_at
from (select clock_timestamp() as now) as clock
left join node on true
order by node.region, node.name
