select
    account.account_id as id,
    account.email,
    account.name,
    account.state,
    account.role,
    account.organization,
    account.created_at,
    exists (select from account_second_factor where account_second_factor.account_id = account.account_id) as "has_second_factor!",
    account_session.proof,
    account_session.created_at as begun_at,
    account_session.seen_at,
    account_session.expires_at
from account_session
join account on account.account_id = account_session.account_id
where account_session.digest = $1
