-- The tenant of this name; without a name, the only one: two rows tell the caller that there are several.
select tenant_id, name from tenant where $1::text is null or name = $1 order by name limit 2
