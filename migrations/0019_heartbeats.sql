-- A heartbeat of the control domain: one node at a time commits one after another. What was read of this database before a heartbeat began
-- is confirmed by its clean commit: a primary that was replaced cannot make one, where a commit waits for a server that may be promoted.
create table control_heartbeat (
    only_row boolean not null default true constraint control_heartbeat_pk primary key,
    beat bigint not null,
    -- The newest one whose commit is known to have waited to its end.
    acked bigint not null,
    -- Who writes, and how far it is from here: a nearer node takes over.
    writer text not null,
    writer_rtt_us bigint not null,
    constraint control_heartbeat_only_row_check check (only_row),
    constraint control_heartbeat_acked_check check (acked <= beat)
) with (fillfactor = 10);

insert into control_heartbeat (beat, acked, writer, writer_rtt_us) values (0, 0, '', 0);

-- What a restart of the node would come to again without a database: it has acknowledged the revision. Null for nodes of earlier versions.
alter table node add column epoch_id uuid;
alter table node add column acked bigint;
-- The largest bound of the routes that refuse once it is over: for so long the node may go on as before when it is cut off.
alter table node add column deny_bound_ms bigint;
-- Which process has said so: one of an earlier version says neither.
alter table node add column bound_incarnation bigint;
-- How old what it knows about keys was, and what is wrong with it, when it reported.
alter table node add column staleness_ms bigint;
alter table node add column trouble text;

-- When each node acknowledged what, for an hour: a receipt names the instants.
create table node_ack (
    name text not null,
    epoch_id uuid not null,
    authority bigint not null,
    acked_at timestamptz not null default clock_timestamp(),
    constraint node_ack_pk primary key (name, epoch_id, authority),
    constraint node_ack_name_fk foreign key (name) references node (name) on delete cascade
);

create index node_ack_acked_at on node_ack (acked_at);

-- At which revision a key ended.
create index control_log_key on control_log (entity, rev) where lane = 'authority' and kind = 'key';
