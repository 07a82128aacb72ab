insert into account_token (token_id, account_id, digest, pepper_version, name, expires_at)
values ($1, $2, $3, $4, $5, $6)
returning created_at
