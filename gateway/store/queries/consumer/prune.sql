delete from consumer where managed_by = 'file' and name <> all($1) returning consumer_id, name
