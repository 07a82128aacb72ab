-- Answers 'kept' when the physical slot was there already, else makes it, with WAL reserved at once, and answers 'made'.
select coalesce(
  (select 'kept' from pg_replication_slots where slot_name = :'slot'),
  (select 'made' from pg_create_physical_replication_slot(:'slot', true))
);
