-- At most two of one receiver's are under way at once, so that a slow one does not keep the others waiting. Whoever comes second skips
-- what the first has locked, and finds it leased afterwards.
with due as (
    select
        notification_id,
        due_at,
        leased_until,
        row_number() over (
            partition by channel, coalesce(consumer_id, account_id)
            order by coalesce(leased_until > now(), false) desc, due_at, notification_id
        ) as place
    from notification
    where state = 'queued' and due_at <= now() and channel = any($1::text [])
),

chosen as (
    select notification.notification_id
    from notification
    where
        notification.notification_id in (
            select due.notification_id
            from due
            where due.place <= 2 and (due.leased_until is null or due.leased_until <= now())
            order by due.due_at
            limit $2
        )
        and notification.state = 'queued'
        and (notification.leased_until is null or notification.leased_until <= now())
    for update skip locked
)

update notification
set attempts = notification.attempts + 1, leased_until = now() + interval '60 seconds'
from chosen
where notification.notification_id = chosen.notification_id
returning
    notification.notification_id as "id!",
    notification.attempts as "attempts!",
    notification.kind as "kind!",
    notification.created_at as "created_at!",
    notification.channel as "channel!",
    notification.consumer_id as "consumer_id?",
    notification.account_id as "account_id?",
    coalesce(
        notification.address,
        (
            select account.email
            from account
            where
                account.account_id = notification.account_id
                and account.state = 'active'
                -- Who was taken out of a team hears no more of it.
                and (
                    notification.consumer_id is null
                    or exists (
                        select 1
                        from team_member
                        where
                            team_member.consumer_id = notification.consumer_id
                            and team_member.account_id = account.account_id
                            and team_member.role in ('owner', 'developer')
                    )
                )
        )
    ) as "address?",
    notification.data as "data!",
    (
        select team_webhook.sealed from team_webhook
        where team_webhook.consumer_id = notification.consumer_id and team_webhook.state = 'on'
    ) as "sealed?",
    (
        select team_webhook.pepper_version from team_webhook
        where team_webhook.consumer_id = notification.consumer_id and team_webhook.state = 'on'
    ) as "pepper_version?"
