-- Whom a provider vouches for has no password here; false for whoever has none already.
update account set password = null where account_id = $1 and password is not null
