-- What earlier imports have made of these.
select key_id as "id!", import_source as "source!", import_lookup as "lookup?", import_mark as "mark?"
from api_key
where application_id = $1 and import_from = $2 and import_source = any($3)
