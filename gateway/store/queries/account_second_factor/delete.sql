delete from account_second_factor where account_id = $1
