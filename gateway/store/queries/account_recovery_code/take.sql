delete from account_recovery_code where account_id = $1 and digest = $2
