select tenant_id as id, name, body, managed_by, created_at
from tenant
where $1::timestamptz is null or (created_at, tenant_id) < ($1, $2::uuid)
order by created_at desc, tenant_id desc
limit $3
