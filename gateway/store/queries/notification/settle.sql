-- A claim that somebody else has taken over settles nothing any more.
update notification
set
    state = case when $3 = 'queued' and now() + make_interval(secs => $4::double precision) > give_up_at then 'failed' else $3 end,
    ended_at = case when $3 = 'queued' and now() + make_interval(secs => $4::double precision) <= give_up_at then null else now() end,
    due_at = now() + make_interval(secs => $4::double precision),
    leased_until = null,
    fault = $5
where notification_id = $1 and attempts = $2 and state = 'queued'
returning state
