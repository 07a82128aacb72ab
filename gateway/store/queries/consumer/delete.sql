delete from consumer where consumer_id = $1
