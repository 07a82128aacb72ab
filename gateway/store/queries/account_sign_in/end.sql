delete from account_sign_in where digest = $1 and account_id = $2 and expires_at > $3
