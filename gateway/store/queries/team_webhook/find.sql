select host, sealed, pepper_version, state, created_at from team_webhook where consumer_id = $1
