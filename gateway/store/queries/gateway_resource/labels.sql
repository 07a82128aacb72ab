-- The labels that regions have.
select distinct label #>> '{}' as "label!"
from gateway_resource, jsonb_path_query(gateway_resource.body, 'lax $.residency[*]') as label
where gateway_resource.kind = 'region'
order by 1
