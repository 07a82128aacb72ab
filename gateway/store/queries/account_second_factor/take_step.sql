-- Of two nodes that are shown one code, one takes it.
update account_second_factor set last_step = $2 where account_id = $1 and last_step < $2
