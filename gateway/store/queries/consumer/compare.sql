select
    wanted.name as "name!",
    current.managed_by as "managed_by?",
    (tenant.name is distinct from wanted.tenant or current.residency is distinct from wanted.residency) as "changed!"
from jsonb_to_recordset($1) as wanted (name text, tenant text, residency text[], position integer)
left join consumer as current on current.name = wanted.name
left join tenant on tenant.tenant_id = current.tenant_id
order by wanted.position
