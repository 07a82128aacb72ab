insert into account_identity (issuer, subject, account_id)
values ($1, $2, $3)
