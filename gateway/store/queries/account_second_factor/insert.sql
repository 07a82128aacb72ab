-- One that is there already stays.
insert into account_second_factor (account_id, secret, pepper_version, last_step)
values ($1, $2, $3, $4)
on conflict on constraint account_second_factor_pk do nothing
