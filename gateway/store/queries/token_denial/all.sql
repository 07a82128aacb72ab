select issuer, kind, value, issued_until, expires_at
from token_denial
where expires_at > now()
