update api_key set state = $2, disabled_by = case when $2 = 'disabled' then $3::text end where key_id = $1
