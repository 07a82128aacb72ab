-- Which of these bcrypt hashes are there already.
select import_mark as "mark!" from api_key where import_mark = any($1)
