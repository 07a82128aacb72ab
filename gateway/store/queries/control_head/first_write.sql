-- The first write ever says where it happened; the epoch is the one that the schema came with.
with here as (
    update control_head
    set
        timeline = $1,
        system_identifier = $2
    returning epoch_id
)
update control_epoch
set
    timeline = $1,
    system_identifier = $2
where epoch_id in (select epoch_id from here)
