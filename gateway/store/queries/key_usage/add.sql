insert into key_usage as usage (
    grain, at, node, key_id, route, region, tenant, consumer, application, requests, denied, client_errors, server_errors, old_secret,
    request_bytes, response_bytes, latency
)
select
    added.grain::"char", to_timestamp(added.at / 1000000), $1, added.key_id, added.route, added.region, added.tenant, added.consumer, added.application,
    added.requests, added.denied, added.client_errors, added.server_errors, added.old_secret, added.request_bytes, added.response_bytes,
    added.latency
from jsonb_to_recordset($2) as added (
    grain text, at bigint, key_id text, route text, region text, tenant text, consumer text, application text, requests bigint, denied bigint,
    client_errors bigint, server_errors bigint, old_secret bigint, request_bytes bigint, response_bytes bigint, latency bigint[]
)
on conflict on constraint key_usage_pk do update
set
    requests = usage.requests + excluded.requests,
    denied = usage.denied + excluded.denied,
    client_errors = usage.client_errors + excluded.client_errors,
    server_errors = usage.server_errors + excluded.server_errors,
    old_secret = usage.old_secret + excluded.old_secret,
    request_bytes = usage.request_bytes + excluded.request_bytes,
    response_bytes = usage.response_bytes + excluded.response_bytes,
    latency = counts_sum(usage.latency, excluded.latency)
