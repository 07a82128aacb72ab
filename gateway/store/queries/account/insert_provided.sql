-- Whom a provider vouches for has no password here.
insert into account (account_id, email, name, password, state, role, organization)
values ($1, $2, $3, null, 'active', $4, '')
returning account_id as id, email, name, state, role, organization, created_at, false as "has_second_factor!"
