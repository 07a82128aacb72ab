-- The same password under a newer pepper; one that was changed in between stays.
update account set password = $3, pepper_version = $4 where account_id = $1 and password = $2
