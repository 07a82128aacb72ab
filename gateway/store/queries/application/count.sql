select count(*) as "applications!" from application where consumer_id = $1
