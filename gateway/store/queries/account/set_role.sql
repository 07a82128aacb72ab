update account set role = $2 where account_id = $1 returning account_id as id, email, name, state, role, organization, created_at
