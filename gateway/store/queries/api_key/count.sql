select count(*) as "keys!" from api_key where application_id = $1 and state <> 'revoked'
