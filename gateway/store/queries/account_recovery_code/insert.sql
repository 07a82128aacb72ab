insert into account_recovery_code (account_id, digest)
select $1, code.digest
from unnest($2::bytea[]) as code (digest)
