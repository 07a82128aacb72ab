delete from key_reminder
where
    ctid = any(array(select ctid from key_reminder where expires_at < now() - interval '2 days' limit 1000 for update skip locked))
