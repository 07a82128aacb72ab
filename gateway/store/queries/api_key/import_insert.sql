-- The end of the text is not known: what stands for it is no end that a key of ours has.
insert into api_key (
    key_id, digest, pepper_version, application_id, name, prefix, last_four, scopes, restrictions, state, expires_at, created_by, disabled_by,
    import_from, import_source, import_lookup, import_peppers,
    import_prefix, import_sealed, import_sealed_pepper, import_mark, import_mark_pepper
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
    case when entry.lookup is not null then array[$1::integer] end,
    entry.bcrypt ->> 'prefix',
    decode(entry.bcrypt ->> 'sealed', 'hex'),
    case when entry.bcrypt is not null then $1::integer end,
    decode(entry.mark ->> 'digest', 'hex'),
    case when entry.mark is not null then $1::integer end
from jsonb_to_recordset($6) as entry (
    id text, secret jsonb, name text, scopes text[], state text, expires_at timestamptz, source text, lookup jsonb, bcrypt jsonb, mark jsonb
)
