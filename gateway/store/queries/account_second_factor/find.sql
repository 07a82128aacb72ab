select secret, pepper_version, last_step from account_second_factor where account_id = $1
