update account
set role = $2
where account_id = $1
returning account_id as id, email, name, state, role, organization, created_at,
    exists (select from account_second_factor where account_second_factor.account_id = account.account_id) as "has_second_factor!"
