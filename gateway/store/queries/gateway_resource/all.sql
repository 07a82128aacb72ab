select
    kind as "kind!",
    name as "name!",
    body as "body!"
from (
    select kind, name, body, position from gateway_resource
    union all
    select 'tenant', name, body, position from tenant
    union all
    select 'plan', name, body, position from plan
) as resource
order by kind, position, name
