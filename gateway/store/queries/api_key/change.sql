update api_key
set
    name = $2,
    scopes = $3,
    plan_id = $4,
    restrictions = $5,
    expires_at = $6,
    previous_until = case when previous_until is null then null else least(previous_until, $6) end
where key_id = $1
