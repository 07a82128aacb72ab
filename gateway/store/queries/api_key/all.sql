select key_id as id, digest, pepper_version, application_id, scopes, state, expires_at from api_key
