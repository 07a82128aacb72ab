select
    wanted.name as "name!",
    current.managed_by as "managed_by?",
    (
        consumer.name is distinct from wanted.consumer
        or plan.name is distinct from wanted.plan
        or to_jsonb(current.scopes) is distinct from wanted.scopes
    ) as "changed!"
from jsonb_to_recordset($1) as wanted (name text, consumer text, plan text, scopes jsonb, position integer)
left join application as current on current.name = wanted.name
left join consumer on consumer.consumer_id = current.consumer_id
left join plan on plan.plan_id = current.plan_id
order by wanted.position
