update account_token
set revoked_at = now()
where account_id = $1 and revoked_at is null
