-- Mail to somebody who has not asked for it is bounded, for each address and for each team.
insert into notification (kind, channel, consumer_id, address, data)
select $1, 'mail', $2::uuid, $3, $4
where
    (select count(*) from notification where address = $3 and kind = $1 and created_at > now() - interval '1 day') < 3
    and (
        $2::uuid is null
        or (
            select count(*) from notification where consumer_id = $2 and kind = $1 and created_at > now() - interval '1 day'
        ) < 20
    )
