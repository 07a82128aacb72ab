-- The present secret goes, and nothing else changes: not the previous one, nor the number, because nobody has used what goes.
update api_key
set digest = $2, pepper_version = $3, peppers = null, last_four = $4, rolled_at = now()
where key_id = $1
