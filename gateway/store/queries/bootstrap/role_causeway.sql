do $$
begin
    if not exists (select 1 from pg_roles where rolname = 'causeway') then
        create role causeway login;
    end if;
    execute format('alter role causeway login password %L', current_setting('bootstrap.password'));
end
$$
