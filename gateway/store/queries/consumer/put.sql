with wanted as (
    select id, name, tenant, residency from jsonb_to_recordset($1) as entry (id uuid, name text, tenant text, residency text[])
)
insert into consumer (consumer_id, name, tenant_id, residency, managed_by)
select wanted.id, wanted.name, tenant.tenant_id, wanted.residency, 'file'
from wanted
join tenant on tenant.name = wanted.tenant
on conflict (name) do update
set tenant_id = excluded.tenant_id, residency = excluded.residency, updated_at = now()
returning consumer_id, name, (select tenant.name from tenant where tenant.tenant_id = consumer.tenant_id) as "tenant!", residency
