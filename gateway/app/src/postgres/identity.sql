-- What a copy of this server's data must agree with: the cluster's identifier and its timeline.
select system.system_identifier || ' ' || checkpoint.timeline_id
from pg_control_system() as system, pg_control_checkpoint() as checkpoint;
