select 1 as "open!" from account_sign_in where digest = $1 and expires_at > $2 and tries < $3
