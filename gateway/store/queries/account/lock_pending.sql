-- One request to sign up after the other, so that their number is exact. The number is the lock's name, and is used nowhere else.
select 1 as "held!" from pg_advisory_xact_lock(7021930085531648)
