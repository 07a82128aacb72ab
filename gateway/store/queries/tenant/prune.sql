delete from tenant where managed_by = 'file' and name <> all($1) returning name
