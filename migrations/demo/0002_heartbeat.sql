-- What a service's database needs so that its domain may say `heartbeat: true` (docs/consistency.md has the same lines for others).
set local lock_timeout = '2s';

create schema causeway;

create table causeway.heartbeat (
    only_row boolean not null default true constraint heartbeat_pk primary key,
    beat bigint not null default 0,
    acked bigint not null default 0,
    writer text not null default '',
    writer_rtt_us bigint not null default 0,
    constraint heartbeat_only_row_check check (only_row),
    constraint heartbeat_acked_check check (acked <= beat)
) with (fillfactor = 10);

insert into causeway.heartbeat default values;
