update account
set state = $2, decided_at = now(), decided_by = $3
where account_id = $1 and state <> 'pending'
returning account_id as id, email, name, state, role, organization, created_at,
    exists (select from account_second_factor where account_second_factor.account_id = account.account_id) as "has_second_factor!"
