update api_key set state = $2 where key_id = $1
