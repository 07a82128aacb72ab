select wanted.name as "name!"
from unnest($2::text[]) as wanted (name)
where not exists (select from gateway_resource where gateway_resource.kind = $1 and gateway_resource.name = wanted.name)
