-- Asked first, so that a role without the right leaves no error in the server's log.
select has_function_privilege('pg_read_file(text)', 'execute') as "may!"
