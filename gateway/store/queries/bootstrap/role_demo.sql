do $$
begin
    if not exists (select 1 from pg_roles where rolname = 'demo') then
        create role demo login;
    end if;
    execute format('alter role demo login password %L', current_setting('bootstrap.password'));
end
$$
