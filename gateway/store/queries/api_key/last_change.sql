-- The revision of the key's last change in the present epoch; the head where that was in an earlier one.
select
    head.epoch,
    head.epoch_id,
    coalesce(
        (
            select max(control_log.rev)
            from control_log
            where
                control_log.lane = 'authority'
                and control_log.kind = 'key'
                and control_log.entity = $1::text
                and control_log.epoch = head.epoch
        ),
        head.rev
    ) as "authority!",
    exists (
        select 1
        from control_log
        where
            control_log.lane = 'authority'
            and control_log.kind = 'key'
            and control_log.entity = $1::text
            and control_log.epoch = head.epoch
    ) as "is_exact!"
from control_head as head
cross join api_key
where head.lane = 'authority' and api_key.key_id = $1
