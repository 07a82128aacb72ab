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
where
    ($1::text is null or state = $1)
    and ($2::timestamptz is null or (created_at, notification_id) < ($2, $3::uuid))
order by created_at desc, notification_id desc
limit $4
