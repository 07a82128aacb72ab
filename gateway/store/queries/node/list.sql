select
    name,
    region,
    incarnation,
    epoch,
    epoch_id,
    authority,
    case when bound_incarnation = incarnation then acked end as acked,
    case when bound_incarnation = incarnation then deny_bound_ms end as deny_bound_ms,
    staleness_ms,
    trouble,
    coalesce(structural_epoch, epoch) as "structural_epoch!",
    structural,
    nack_structural,
    nack_message,
    last_seen
from node
order by last_seen desc, name
limit 1000
