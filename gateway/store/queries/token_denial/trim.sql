-- What means nothing any more; a bounded number of rows in one go.
delete from token_denial
where ctid = any(array(
    select ctid
    from token_denial
    where expires_at < now() - interval '1 day'
    limit 1000
    for update skip locked
))
