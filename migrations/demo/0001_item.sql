-- The demo service's own database: one table, so that a write in one region can be looked for in another.
set local lock_timeout = '2s';

create table item (
    item_id bigint not null generated always as identity constraint item_pk primary key,
    name text not null,
    quantity integer not null,
    created_at timestamptz not null default now(),
    constraint item_name_check check (length(name) between 1 and 200),
    constraint item_quantity_check check (quantity >= 0)
);
