-- Only a key that is not revoked: the first revocation's time and actor stay.
update api_key
set state = 'revoked', revoked_at = now(), revoked_by = $2
where key_id = $1 and state <> 'revoked'
returning key_id as id, digest, pepper_version, application_id, scopes, state, expires_at, revoked_at as "revoked_at!"
