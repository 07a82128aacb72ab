-- What is too old for its grain; a bounded number of rows, so that nobody waits for it.
delete from key_usage
where ctid = any(array(
    select ctid
    from key_usage
    where
        (grain = 't' and at < now() - interval '10 minutes')
        or (grain = 'm' and at < now() - interval '2 days')
        or (grain = 'h' and at < now() - interval '400 days')
    limit 5000
))
