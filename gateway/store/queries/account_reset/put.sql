insert into account_reset (account_id, digest, issued_by, expires_at)
values ($1, $2, $3, $4)
on conflict on constraint account_reset_pk do update
set
    digest = excluded.digest,
    issued_by = excluded.issued_by,
    created_at = now(),
    expires_at = excluded.expires_at
