-- What has ended, whosesoever it is; a bounded number of rows in one go.
delete from account_sign_in
where ctid = any(array(
    select ctid
    from account_sign_in
    where expires_at <= $1
    limit 100
    for update skip locked
))
