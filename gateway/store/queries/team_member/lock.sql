-- All rows of the team, in one order: whoever waits here sees what the one before has left.
select account_id, role from team_member where consumer_id = $1 order by account_id for update
