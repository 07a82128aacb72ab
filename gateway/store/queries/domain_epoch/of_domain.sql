select number, parent, fork_lsn, system_identifier, timeline, server
from domain_epoch
where domain = $1
order by number
