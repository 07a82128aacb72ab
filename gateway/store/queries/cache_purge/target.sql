-- Whether what a purge names exists (null names nothing), and the moment of the purge.
select
    ($1::text is null or exists (select from tenant where name = $1)) as "has_tenant!",
    ($2::text is null or exists (select from gateway_resource where kind = 'route' and name = $2)) as "has_route!",
    now() as "at!"
