-- Both lanes enter an epoch together. The first write ever only says where it happened.
update control_head
set
    epoch = epoch + case when timeline is null then 0 else 1 end,
    timeline = $1,
    system_identifier = $2
