insert into key_use as used (key_id, at, region, client)
select key_id, to_timestamp(at / 1000000.0), region, client
from jsonb_to_recordset($1) as seen (key_id text, at bigint, region text, client text)
on conflict on constraint key_use_pk do update
set at = excluded.at, region = excluded.region, client = excluded.client
where excluded.at > used.at + interval '1 minute'
