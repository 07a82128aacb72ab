delete from application where application_id = any($1)
