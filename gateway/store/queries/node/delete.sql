delete from node
where name = $1 and last_seen < now() - interval '2 minutes'
