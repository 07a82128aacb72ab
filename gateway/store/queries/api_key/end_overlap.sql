update api_key
set previous_digest = null, previous_peppers = null, previous_until = null, previous_last_four = null
where key_id = $1 and previous_digest is not null
