-- Keys that other systems have issued, taken over by their hashes. Nothing here authenticates: both digests are under peppers that this
-- database does not hold.
set local lock_timeout = '2s';

alter table api_key
    -- The system that issued it, as the operator calls it, and what it is called there. They stay when the key is rolled or revoked: a
    -- second import finds it.
    add column import_from text,
    add column import_source text,
    -- What finds it by its text, which holds no id; and the peppers of that, innermost first.
    add column import_lookup bytea,
    add column import_peppers integer[];

alter table api_key
    add constraint api_key_import_check check (
        (import_from is null) = (import_source is null)
        and (import_from is null) = (import_lookup is null)
        and (import_from is null) = (import_peppers is null)
        and (import_lookup is null or octet_length(import_lookup) = 32)
    );

-- No two keys answer to one text.
create unique index api_key_import_lookup_unique on api_key (import_lookup) where import_lookup is not null;
create unique index api_key_import_source_unique on api_key (application_id, import_from, import_source) where import_from is not null;
-- For the few layers that occur.
create index api_key_import_peppers_idx on api_key (import_peppers) where import_peppers is not null;
