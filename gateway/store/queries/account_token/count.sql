-- Those that have ended are nobody's burden.
select count(*) as "n!"
from account_token
where account_id = $1 and revoked_at is null and expires_at > $2
