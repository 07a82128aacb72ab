insert into account_session (digest, account_id, created_at, seen_at, expires_at, proof)
values ($1, $2, $3, $3, $4, $5)
