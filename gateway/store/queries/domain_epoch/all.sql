select domain, number, parent, fork_lsn, system_identifier, timeline, server
from domain_epoch
order by domain, number
