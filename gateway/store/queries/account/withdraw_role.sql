update account set role = null where account_id = $1
