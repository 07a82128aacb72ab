-- Keys that wait for their texts, where one text could begin with their prefix and with a wanted one: $1 has what the wanted ones begin
-- with, themselves too, and $2 the wanted ones. Behind each, as many as matter are looked at.
select key_id as "id!", import_prefix as "prefix!"
from api_key
where import_sealed is not null and state <> 'revoked' and expires_at > now() and import_prefix = any($1)
union
select longer.key_id, longer.import_prefix
from unnest($2::text[]) as wanted (prefix)
cross join lateral (
    select waits.key_id, waits.import_prefix
    from api_key as waits
    where
        waits.import_sealed is not null
        and waits.state <> 'revoked'
        and waits.expires_at > now()
        and waits.import_prefix > wanted.prefix collate "C"
        and waits.import_prefix < (wanted.prefix || chr(127)) collate "C"
    limit $3
) as longer
