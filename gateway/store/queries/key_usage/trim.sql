-- What is too old for its grain; a bounded number of rows, and none that somebody else is at.
delete from key_usage
where ctid = any(array(
    select ctid
    from key_usage
    where grain = $1::text::"char" and at < now() - $2::interval
    limit 5000
    for update skip locked
))
