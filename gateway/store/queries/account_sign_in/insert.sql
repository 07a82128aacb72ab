insert into account_sign_in (digest, account_id, created_at, expires_at)
values ($1, $2, $3, $4)
