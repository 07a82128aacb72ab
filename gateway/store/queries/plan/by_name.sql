select plan_id as id, name, body, managed_by, created_at
from plan
where name = $1
