select at, region, client from key_use where key_id = $1
