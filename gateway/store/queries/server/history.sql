select left(pg_read_file($1), $2) as "text?"
