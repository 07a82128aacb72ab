-- The present secret becomes the previous one, for as long as $5 says; without $5 it ends at once. One that was previous
-- already ends: two secrets are valid, never three.
update api_key
set
    digest = $2,
    pepper_version = $3,
    peppers = null,
    secret_number = secret_number + 1,
    last_four = $4,
    rolled_at = now(),
    previous_digest = case when $5::timestamptz is null then null else digest end,
    previous_peppers = case when $5::timestamptz is null then null else coalesce(peppers, array[pepper_version]) end,
    previous_until = case when $5::timestamptz is null then null else least($5::timestamptz, expires_at) end,
    previous_last_four = case when $5::timestamptz is null then null else last_four end
where key_id = $1
