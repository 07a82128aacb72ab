select revoked_at from api_key where key_id = $1
