-- Requests with the secret before the last roll in the last half minute, as far as they are loaded.
select coalesce(sum(old_secret), 0)::bigint as "requests!"
from key_usage
where grain = 't' and key_id = $1 and at >= now() - interval '30 seconds'
