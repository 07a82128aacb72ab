-- The nearest of the steps that a key has reached, once. A key that was made for less time than a step is not told about at it, and one
-- that has ended for more than a day not at all.
with step (days) as (values (0), (1), (3), (14)),

reached as (
    select api_key.key_id, api_key.expires_at, min(step.days) as days
    from api_key
    join step
        on
            api_key.expires_at - make_interval(days => step.days) <= now()
            and (step.days = 0 or api_key.created_at < api_key.expires_at - make_interval(days => step.days))
    where
        api_key.state in ('active', 'disabled')
        and api_key.expires_at > now() - interval '1 day'
        and api_key.expires_at <= now() + interval '14 days'
    group by api_key.key_id, api_key.expires_at
),

untold as (
    select reached.*
    from reached
    where
        not exists (
            select 1
            from key_reminder
            where
                key_reminder.key_id = reached.key_id
                and key_reminder.expires_at = reached.expires_at
                and key_reminder.days = reached.days
        )
    limit 100
)

insert into key_reminder (key_id, expires_at, days)
select key_id, expires_at, days from untold
on conflict on constraint key_reminder_pk do nothing
returning key_id, days
