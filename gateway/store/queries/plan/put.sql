insert into plan (plan_id, name, body, position, managed_by)
select wanted.id, wanted.name, wanted.body, wanted.position, 'file'
from jsonb_to_recordset($1) as wanted (id uuid, name text, position integer, body jsonb)
on conflict (name) do update
set body = excluded.body, position = excluded.position, updated_at = now()
