insert into team_webhook (consumer_id, host, sealed, pepper_version, created_by)
values ($1, $2, $3, $4, $5)
on conflict on constraint team_webhook_pk do update
set
    host = excluded.host,
    sealed = excluded.sealed,
    pepper_version = excluded.pepper_version,
    state = 'on',
    created_at = now(),
    created_by = excluded.created_by
