select token_id as id, account_id, digest, pepper_version, expires_at
from account_token
where token_id = $1 and revoked_at is null
