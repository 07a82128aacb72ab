insert into api_key (key_id, digest, pepper_version, application_id, name, prefix, last_four, scopes, state, expires_at, created_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, 'active', $9, $10)
