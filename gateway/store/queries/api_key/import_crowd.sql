-- Keys that wait for their texts, where one text could begin with their prefix and with a wanted one: $1 has what the wanted ones begin
-- with, themselves too, and $2 the wanted ones, each once. Behind each, as many as matter are looked at. Only those of the tenant that the
-- application $4 belongs to: a route looks at no others.
with here as (
    select application.application_id
    from application
    join consumer on consumer.consumer_id = application.consumer_id
    where consumer.tenant_id = (
        select owner.tenant_id
        from application as wants
        join consumer as owner on owner.consumer_id = wants.consumer_id
        where wants.application_id = $4
    )
)
select key_id as "id!", import_prefix as "prefix!"
from api_key
where
    import_sealed is not null
    and state <> 'revoked'
    and expires_at > now()
    and import_prefix = any($1)
    and application_id in (select here.application_id from here)
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
        and waits.application_id in (select here.application_id from here)
    limit $3
) as longer
