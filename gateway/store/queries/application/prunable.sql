select application_id, name from application where managed_by = 'file' and name <> all($1) order by name
