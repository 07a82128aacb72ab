-- Whoever comes second waits for the first, and finds nothing.
delete from account_reset where account_id = $1 and digest = $2 and expires_at > $3
