update account_session set seen_at = greatest(seen_at, $2) where digest = $1
