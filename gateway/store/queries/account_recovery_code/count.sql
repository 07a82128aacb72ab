select count(*) as "left!" from account_recovery_code where account_id = $1
