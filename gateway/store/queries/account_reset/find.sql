select account_id from account_reset where digest = $1 and expires_at > $2
