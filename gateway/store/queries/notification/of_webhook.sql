select notification_id as id, kind, state, created_at, due_at, attempts, ended_at, fault
from notification
where consumer_id = $1 and channel = 'webhook'
order by created_at desc, notification_id desc
limit 20
