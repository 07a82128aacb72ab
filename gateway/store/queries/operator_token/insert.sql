insert into operator_token (token_id, digest, pepper_version, name, role, expires_at, created_by)
values ($1, $2, $3, $4, $5, $6, $7)
returning created_at
