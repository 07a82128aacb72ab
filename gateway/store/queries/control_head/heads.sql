select
    max(epoch) as "epoch!",
    (array_agg(epoch_id order by lane))[1] as "epoch_id!",
    max(rev) filter (where lane = 'authority') as "authority!",
    max(rev) filter (where lane = 'structural') as "structural!"
from control_head
