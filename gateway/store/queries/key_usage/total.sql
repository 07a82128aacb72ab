select
    coalesce(sum(requests), 0)::bigint as "requests!",
    coalesce(sum(denied), 0)::bigint as "denied!",
    coalesce(sum(client_errors), 0)::bigint as "client_errors!",
    coalesce(sum(server_errors), 0)::bigint as "server_errors!",
    counts_total(latency) as "latency?"
from key_usage
where
    grain = $1::text::"char"
    and at >= $2
    and at < $3
    and ($4::text is null or key_id = $4)
    and ($5::text is null or application = $5)
    and ($6::text is null or route = $6)
