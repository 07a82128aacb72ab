select account_id as id, email, name, state, role, organization, created_at,
    exists (select from account_second_factor where account_second_factor.account_id = account.account_id) as "has_second_factor!"
from account
where
    ($1::text is null or state = $1)
    and ($2::timestamptz is null or (created_at, account_id) < ($2, $3::uuid))
order by created_at desc, account_id desc
limit $4
