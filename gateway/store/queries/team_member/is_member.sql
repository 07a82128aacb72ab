select exists(select from team_member where consumer_id = $1 and account_id = $2) as "is_member!"
