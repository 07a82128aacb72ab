select pg_notify('causeway_control', $1)
