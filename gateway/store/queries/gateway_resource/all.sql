-- Bodies come as text: one that cannot be read must cost its own row and not the statement.
select
    kind as "kind!",
    name as "name!",
    body::text as "body!"
from (
    select kind, name, body, position from gateway_resource
    union all
    select 'tenant', name, body, position from tenant
    union all
    select 'plan', name, body, position from plan
) as resource
order by kind, position, name
