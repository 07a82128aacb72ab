-- With $3, one that still waits stands for this one too, and the next comes ten minutes after the one before: strangers decide how often
-- it happens.
insert into notification (kind, channel, data, due_at)
select
    $1,
    'operators',
    $2,
    greatest(
        now(),
        case when $3
            then (
                select max(earlier.due_at) + interval '10 minutes'
                from notification as earlier
                where earlier.channel = 'operators' and earlier.kind = $1 and earlier.created_at > now() - interval '1 day'
            )
        end
    )
where
    not $3
    or not exists (
        select 1
        from notification as waiting
        where
            waiting.channel = 'operators' and waiting.kind = $1 and waiting.state = 'queued' and waiting.attempts = 0
            and waiting.give_up_at > now()
    )
