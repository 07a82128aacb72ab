-- Both lanes enter an epoch together. The number is above all that anybody here has heard of.
with begun as (
    insert into control_epoch (epoch_id, epoch, parent_id, timeline, system_identifier, began_lsn)
    select gen_random_uuid(), greatest(max(epoch), $3) + 1, (array_agg(epoch_id order by lane))[1], $1, $2, pg_current_wal_insert_lsn()
    from control_head
    returning epoch_id, epoch
)
update control_head
set
    epoch = begun.epoch,
    epoch_id = begun.epoch_id,
    timeline = $1,
    system_identifier = $2
from begun
