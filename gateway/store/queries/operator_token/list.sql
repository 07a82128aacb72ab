select token_id as id, name, role, expires_at, created_at
from operator_token
where
    revoked_at is null
    and ($1::timestamptz is null or (created_at, token_id) < ($1, $2::bpchar))
order by created_at desc, token_id desc
limit $3
