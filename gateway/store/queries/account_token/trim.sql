-- What nobody can use and nobody looks for any more.
delete from account_token
where account_id = $1 and (revoked_at < $2 or expires_at < $2)
