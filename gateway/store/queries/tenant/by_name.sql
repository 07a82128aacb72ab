select tenant_id as id, name, body, managed_by, created_at
from tenant
where name = $1
