-- The first revocation's time and actor stay.
update operator_token
set revoked_at = coalesce(revoked_at, now()), revoked_by = coalesce(revoked_by, $2)
where token_id = $1
