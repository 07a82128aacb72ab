-- Whoever has no password signs in by a provider, which a password would go around.
insert into account_reset (account_id, digest, issued_by, expires_at)
select account.account_id, $2, $3, $4
from account
where account.account_id = $1 and account.password is not null
on conflict on constraint account_reset_pk do update
set
    digest = excluded.digest,
    issued_by = excluded.issued_by,
    created_at = now(),
    expires_at = excluded.expires_at
