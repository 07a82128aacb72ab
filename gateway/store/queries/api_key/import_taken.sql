-- Which of these find a key already.
select import_lookup as "lookup!" from api_key where import_lookup = any($1)
