update account set password = $2, pepper_version = $3 where account_id = $1
