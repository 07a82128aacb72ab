-- Those that ended a day ago: until then people see that they did. A bounded number of rows in one go.
delete from account_invitation
where ctid = any(array(
    select ctid
    from account_invitation
    where expires_at < now() - interval '1 day'
    limit 100
    for update skip locked
))
