-- Whom a provider vouches for has none, and gets none.
update account set password = $2, pepper_version = $3 where account_id = $1 and password is not null
