select
    wanted.name as "name!",
    current.managed_by as "managed_by?",
    current.body is distinct from wanted.body as "changed!",
    current.position is distinct from wanted.position as "moved!"
from jsonb_to_recordset($1) as wanted (name text, position integer, body jsonb)
left join tenant as current on current.name = wanted.name
order by wanted.position
