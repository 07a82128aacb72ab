insert into control_log (rev, lane, epoch, ordinal, n_rows, kind, entity, op, body, actor)
select $1, $2, $3, entry.ordinal, $4, entry.kind, entry.entity, entry.op, entry.body, $5
from jsonb_to_recordset($6) as entry (ordinal integer, kind text, entity text, op text, body jsonb)
