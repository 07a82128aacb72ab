update notification
set state = 'queued', ended_at = null, due_at = now(), give_up_at = now() + interval '24 hours', leased_until = null
where notification_id = $1 and state = 'failed'
