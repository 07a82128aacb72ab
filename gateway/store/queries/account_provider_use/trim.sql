-- What has ended; a bounded number of rows in one go.
delete from account_provider_use
where ctid = any(array(
    select ctid
    from account_provider_use
    where expires_at <= $1
    limit 100
    for update skip locked
))
