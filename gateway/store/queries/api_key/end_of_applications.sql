delete from api_key where application_id = any($1) returning key_id
