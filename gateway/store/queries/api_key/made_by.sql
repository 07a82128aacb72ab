select key_id, create_fingerprint as "fingerprint!" from api_key where create_token = $1
