insert into domain_epoch (domain, number, parent, fork_lsn, system_identifier, timeline, server, begun_by)
values ($1, $2, $3, $4, $5, $6, $7, $8)
