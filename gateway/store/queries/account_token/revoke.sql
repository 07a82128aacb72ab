update account_token
set revoked_at = coalesce(revoked_at, now())
where token_id = $1 and account_id = $2
