select
    account.account_id as id,
    account.email,
    account.name,
    account.state,
    account.role,
    account.organization,
    account.created_at,
    exists (select from account_second_factor where account_second_factor.account_id = account.account_id) as "has_second_factor!",
    team_member.role as team_role,
    team_member.since
from team_member
join account on account.account_id = team_member.account_id
where team_member.consumer_id = $1
order by team_member.since, account.account_id
