select
    account.account_id as id,
    account.email,
    account.name,
    account.state,
    account.role,
    account.organization,
    account.created_at,
    team_member.role as team_role,
    team_member.since
from team_member
join account on account.account_id = team_member.account_id
where team_member.consumer_id = $1
order by team_member.since, account.account_id
