-- The issuer of a name or of an `iss`, and how many denials are in force.
select
    (select body ->> 'issuer' from gateway_resource where kind = 'issuer' and (name = $1 or body ->> 'issuer' = $1) limit 1) as issuer,
    (select count(*) from token_denial where expires_at > now()) as "in_force!"
