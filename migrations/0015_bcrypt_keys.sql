-- Keys that other systems have hashed with bcrypt, taken over with what their texts begin with. Such a key has nothing that finds it by its
-- whole text until somebody shows that. Nothing here authenticates or lets anybody guess: the hash is sealed under a key that this
-- database does not hold, and the mark is a digest under a pepper.
set local lock_timeout = '2s';

alter table api_key
    -- What the text begins with, the sealed hash, and the pepper that its key is made from. They go when the text is shown, and with the key.
    add column import_prefix text collate "C",
    add column import_sealed bytea,
    add column import_sealed_pepper integer,
    -- By what an import knows the hash again, and the pepper of that. They stay.
    add column import_mark bytea,
    add column import_mark_pepper integer;

-- What finds a key is no longer there from the start. The version before writes rows that keep these rules. The next file looks at the rows
-- that are there, without standing in anybody's way.
alter table api_key
    drop constraint api_key_import_check,
    add constraint api_key_import_check check (
        (import_from is null) = (import_source is null)
        and (import_from is null) = (import_lookup is null and import_mark is null)
        and (import_lookup is null) = (import_peppers is null)
        and (import_lookup is null or octet_length(import_lookup) = 32)
        and (import_mark is null) = (import_mark_pepper is null)
        and (import_mark is null or octet_length(import_mark) = 32)
    ) not valid,
    add constraint api_key_import_sealed_check check (
        (import_sealed is null) = (import_prefix is null)
        and (import_sealed is null) = (import_sealed_pepper is null)
        and (import_sealed is null or (import_mark is not null and import_lookup is null and octet_length(import_sealed) = 76))
    ) not valid;

-- No two keys have one hash.
create unique index api_key_import_mark_unique on api_key (import_mark) where import_mark is not null;
create index api_key_import_mark_pepper_idx on api_key (import_mark_pepper) where import_mark_pepper is not null;
-- Few keys share a prefix: an import counts them.
create index api_key_import_prefix_idx on api_key (import_prefix) where import_sealed is not null;
