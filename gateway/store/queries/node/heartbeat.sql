-- A late report of an earlier start must not stand in for the present one's.
insert into node (name, region, incarnation, epoch, authority, structural, nack_structural, nack_message, structural_epoch)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (name) do update
set
    region = excluded.region,
    incarnation = excluded.incarnation,
    epoch = excluded.epoch,
    authority = excluded.authority,
    structural = excluded.structural,
    nack_structural = excluded.nack_structural,
    nack_message = excluded.nack_message,
    structural_epoch = excluded.structural_epoch,
    last_seen = now()
where node.incarnation <= excluded.incarnation
