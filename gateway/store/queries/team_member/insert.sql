-- Who belongs to the team already stays what they are: an invitation takes nothing away.
insert into team_member (consumer_id, account_id, role)
values ($1, $2, $3)
on conflict on constraint team_member_pk do nothing
