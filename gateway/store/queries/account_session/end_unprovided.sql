delete from account_session where account_id = $1 and proof <> 'provider'
