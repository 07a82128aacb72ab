-- A late report of an earlier start must not stand in for the present one's.
insert into node (name, region, incarnation, epoch, authority, structural, nack_structural, nack_message)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (name) do update
set
    region = excluded.region,
    incarnation = excluded.incarnation,
    epoch = excluded.epoch,
    authority = excluded.authority,
    structural = excluded.structural,
    nack_structural = excluded.nack_structural,
    nack_message = excluded.nack_message,
    last_seen = now()
where node.incarnation <= excluded.incarnation
