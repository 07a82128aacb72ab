select token_id as id, name, digest, pepper_version, role, expires_at
from operator_token
where token_id = $1 and revoked_at is null
