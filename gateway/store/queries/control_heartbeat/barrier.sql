-- Writes something, so that the commit waits as every other does.
select pg_logical_emit_message(true, 'causeway', 'barrier')::text as "at"
