select plan_id as id, name, body, managed_by, created_at
from plan
where $1::timestamptz is null or (created_at, plan_id) < ($1, $2::uuid)
order by created_at desc, plan_id desc
limit $3
