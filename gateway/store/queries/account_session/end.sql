delete from account_session where digest = $1
