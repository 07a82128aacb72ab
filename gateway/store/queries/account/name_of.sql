select name, email from account where account_id = $1
