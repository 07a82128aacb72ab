delete from team_webhook where consumer_id = $1
