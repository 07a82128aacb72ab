-- Takes the lanes' locks in their alphabetical order, authority first, as every writer does.
select
    lane,
    epoch,
    epoch_id,
    rev,
    timeline,
    system_identifier,
    ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer as "timeline_now!",
    (select system_identifier from pg_control_system()) as "system_identifier_now!"
from control_head
where lane = any($1)
order by lane
for update of control_head
