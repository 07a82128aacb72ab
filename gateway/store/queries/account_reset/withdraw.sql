delete from account_reset where account_id = $1
