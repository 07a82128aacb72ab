insert into api_key (
    key_id, digest, pepper_version, application_id, name, prefix, last_four, scopes, plan_id, restrictions, state, expires_at, created_by,
    create_token, create_fingerprint
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
