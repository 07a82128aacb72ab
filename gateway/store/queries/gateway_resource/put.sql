insert into gateway_resource (kind, name, body, position, managed_by)
select wanted.kind, wanted.name, wanted.body, wanted.position, 'file'
from jsonb_to_recordset($1) as wanted (kind text, name text, position integer, body jsonb)
on conflict (kind, name) do update
set body = excluded.body, position = excluded.position, updated_at = now()
