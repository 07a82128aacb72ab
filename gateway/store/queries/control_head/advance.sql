update control_head set rev = rev + 1 where lane = $1 returning epoch, rev
