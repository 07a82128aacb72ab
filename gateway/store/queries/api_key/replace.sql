-- The present secret goes, with all that was opened with it: the new one has a number of its own. The previous one and its number stay.
update api_key
set
    digest = $2,
    pepper_version = $3,
    peppers = null,
    secret_number = secret_number + 1,
    previous_number = case when replaced_number = secret_number then previous_number else secret_number - 1 end,
    replaced_number = secret_number + 1,
    last_four = $4,
    rolled_at = now()
where key_id = $1
