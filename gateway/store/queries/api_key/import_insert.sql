-- The end of the text is not known: what stands for it is no end that a key of ours has.
insert into api_key (
    key_id, digest, pepper_version, application_id, name, prefix, last_four, scopes, restrictions, state, expires_at, created_by, disabled_by,
    import_from, import_source, import_lookup, import_peppers
)
select
    entry.id,
    decode(entry.secret ->> 'digest', 'hex'),
    $1::integer,
    $2,
    entry.name,
    $3,
    '????',
    entry.scopes,
    '{}',
    entry.state,
    entry.expires_at,
    $4::text,
    case when entry.state = 'disabled' then $4::text end,
    $5,
    entry.source,
    decode(entry.lookup ->> 'digest', 'hex'),
    array[$1::integer]
from jsonb_to_recordset($6) as entry (
    id text, secret jsonb, name text, scopes text[], state text, expires_at timestamptz, source text, lookup jsonb
)
