-- What no node could send: no sender was there for its channel.
update notification
set state = 'failed', ended_at = now(), leased_until = null, fault = coalesce(fault, 'no node that sends it was there in time')
where
    notification_id = any(array(
        select notification_id
        from notification
        where state = 'queued' and give_up_at <= now() and (leased_until is null or leased_until <= now())
        limit 1000
        for update skip locked
    ))
