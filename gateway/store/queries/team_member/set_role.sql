update team_member set role = $3 where consumer_id = $1 and account_id = $2
