do $$
begin
    if not exists (select 1 from pg_roles where rolname = 'demo') then
        create role demo login;
    end if;
    execute format('alter role demo login password %L', current_setting('bootstrap.password'));
    -- The gateway watches this database as the same role, and a standby's WAL receiver is shown to members only.
    grant pg_monitor to demo;
end
$$
