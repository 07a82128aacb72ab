select
    max(epoch) as "epoch!",
    max(rev) filter (where lane = 'authority') as "authority!",
    max(rev) filter (where lane = 'structural') as "structural!"
from control_head
