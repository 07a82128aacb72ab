select
    date_bin($7::interval, at, 'epoch'::timestamptz) as "at!",
    sum(requests)::bigint as "requests!",
    sum(denied)::bigint as "denied!",
    sum(client_errors)::bigint as "client_errors!",
    sum(server_errors)::bigint as "server_errors!",
    sum(old_secret)::bigint as "old_secret!",
    sum(request_bytes)::bigint as "request_bytes!",
    sum(response_bytes)::bigint as "response_bytes!",
    counts_total(latency) as "latency!"
from key_usage
where
    grain = $1::text::"char"
    and at >= $2
    and at < $3
    and ($4::text is null or key_id = $4)
    and ($5::text is null or application = $5)
    and ($6::text is null or route = $6)
group by 1
order by 1
