delete from account where account_id = $1 and state = 'pending' returning email
