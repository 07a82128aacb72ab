select application_id, name, managed_by from application where consumer_id = $1 order by name
