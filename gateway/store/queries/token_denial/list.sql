select denial_id as id, issuer, kind, value, issued_until, expires_at, created_at, created_by
from token_denial
where
    ($1::text is null or issuer = $1)
    and ($2::timestamptz is null or (created_at, denial_id) < ($2, $3::uuid))
order by created_at desc, denial_id desc
limit $4
