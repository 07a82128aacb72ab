select
    notification_id as id,
    kind,
    channel,
    account_id,
    consumer_id,
    state,
    created_at,
    due_at,
    attempts,
    ended_at,
    fault
from notification
where notification_id = $1
