insert into account (account_id, email, name, password, pepper_version, state, role, organization)
values ($1, $2, $3, $4, $5, $6, $7, $8)
returning account_id as id, email, name, state, role, organization, created_at, false as "has_second_factor!"
