delete from account_sign_in where account_id = $1
