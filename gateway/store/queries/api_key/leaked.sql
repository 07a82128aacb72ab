-- Keys of some teams that were revoked as leaked since then, newest first.
select api_key.key_id as "id!", api_key.name as "name!"
from api_key
join application on application.application_id = api_key.application_id
where application.consumer_id = any($1) and api_key.revoked_reason = 'leaked' and api_key.revoked_at >= $2
order by api_key.revoked_at desc
limit $3
