-- All rows of the team, in one order: whoever waits here sees what the one before has left.
select team_member.account_id, team_member.role, account.state
from team_member
join account on account.account_id = team_member.account_id
where team_member.consumer_id = $1
order by team_member.account_id
for update of team_member
