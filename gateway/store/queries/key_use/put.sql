-- Only what is new by a minute: an upsert that changes nothing would lock the row all the same.
insert into key_use as used (key_id, at, region, client)
select seen.key_id, to_timestamp(seen.at / 1000000.0), seen.region, seen.client
from jsonb_to_recordset($1) as seen (key_id text, at bigint, region text, client text)
left join key_use as before on before.key_id = seen.key_id
where before.at is null or to_timestamp(seen.at / 1000000.0) > before.at + interval '1 minute'
order by seen.key_id
on conflict on constraint key_use_pk do update
set at = excluded.at, region = excluded.region, client = excluded.client
where excluded.at > used.at
