-- A bounded number of rows in one go.
delete from notification
where
    notification_id = any(array(
        select notification_id
        from notification
        where state <> 'queued' and ended_at < now() - interval '7 days'
        limit 1000
        for update skip locked
    ))
