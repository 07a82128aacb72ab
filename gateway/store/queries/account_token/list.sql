select token_id as id, name, created_at, expires_at
from account_token
where account_id = $1 and revoked_at is null
order by created_at desc, token_id desc
limit $2
