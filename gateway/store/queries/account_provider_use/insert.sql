-- Of two requests with one state, one is first.
insert into account_provider_use (digest, expires_at)
values ($1, $2)
on conflict on constraint account_provider_use_pk do nothing
