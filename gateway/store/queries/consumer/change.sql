update consumer set residency = $2, updated_at = now() where consumer_id = $1
