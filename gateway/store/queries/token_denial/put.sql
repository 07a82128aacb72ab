insert into token_denial as denial (denial_id, issuer, kind, value, issued_until, expires_at, created_by)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict on constraint token_denial_what_unique do update
set
    issued_until = greatest(denial.issued_until, excluded.issued_until),
    expires_at = greatest(denial.expires_at, excluded.expires_at)
returning denial_id as id, issuer, kind, value, issued_until, expires_at, created_at, created_by
