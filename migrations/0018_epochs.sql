-- Epochs have an identity and a parent. Their number alone names none: two servers that are promoted apart from each other both begin the
-- next one, and what one of them gives the number of a revision is something else on the other.
create table control_epoch (
    epoch_id uuid not null constraint control_epoch_pk primary key,
    epoch bigint not null,
    -- The one that it goes on from; null for the first, and for what an earlier version began.
    parent_id uuid constraint control_epoch_parent_fk references control_epoch (epoch_id),
    timeline integer,
    system_identifier bigint,
    -- Where the server's log stood.
    began_lsn pg_lsn,
    began_at timestamptz not null default now(),
    constraint control_epoch_number_check check (epoch >= 1)
);

alter table control_head add column epoch_id uuid constraint control_head_epoch_fk references control_epoch (epoch_id);

with present as (
    insert into control_epoch (epoch_id, epoch, timeline, system_identifier)
    select gen_random_uuid(), max(epoch), max(timeline), max(system_identifier)
    from control_head
    returning epoch_id
)
update control_head
set epoch_id = present.epoch_id
from present;

alter table control_head alter column epoch_id set not null;

-- A node may keep the structure of an epoch over a promotion: then its two lanes are in two epochs. Null for nodes of earlier versions.
alter table node add column structural_epoch bigint;
