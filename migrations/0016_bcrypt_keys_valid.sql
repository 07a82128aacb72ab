-- Reads and writes of keys go on while this looks at all of them.
set local lock_timeout = '2s';

alter table api_key validate constraint api_key_replaced_number_check;
alter table api_key validate constraint api_key_import_check;
alter table api_key validate constraint api_key_import_sealed_check;
