-- The audit log. Rows keep their salt and canonical bytes, so that the tree and erasure can come later without touching
-- what is there; the other columns are extracted for search and prove nothing.
set local lock_timeout = '2s';

-- How far each incarnation of each node is loaded. Its row is the lock that makes loading exactly-once.
create table audit_watermark (
    node text not null,
    incarnation bigint not null,
    seq bigint not null,
    chain_hash bytea not null,
    updated_at timestamptz not null default now(),
    constraint audit_watermark_pk primary key (node, incarnation),
    constraint audit_watermark_seq_check check (seq >= 0),
    constraint audit_watermark_chain_hash_check check (octet_length(chain_hash) = 32)
);

create table audit_event (
    node text not null,
    incarnation bigint not null,
    seq bigint not null,
    -- The partition: the event's day (UTC), or 1970-01-01 when its clock is not believed.
    day date not null,
    at timestamptz not null,
    event_id uuid,
    phase text,
    class text,
    salt bytea not null,
    event bytea not null,
    tenant text,
    consumer text,
    application text,
    key_id text,
    route text,
    method text,
    status smallint,
    decision text,
    outcome text,
    reason text,
    request_id text,
    region text,
    actor text,
    action text,
    constraint audit_event_seq_unique unique (node, incarnation, seq, day),
    constraint audit_event_salt_check check (octet_length(salt) = 32)
) partition by range (day);

create index audit_event_at_idx on audit_event (at, node, incarnation, seq);
create index audit_event_key_idx on audit_event (key_id, at) where key_id is not null;
create index audit_event_request_idx on audit_event (request_id) where request_id is not null;

create table audit_event_default partition of audit_event default;

-- Makes the partitions that are missing for these days, and returns the days that have one. A day that is further from the
-- database's own than a week back or two days ahead gets none: a node whose clock lies cannot fill the catalog, at most
-- ten partitions can be made on any day. Callers file such events under 1970-01-01, which no partition but the default can
-- ever cover; filed under their own day, they would forbid that day's partition for good.
create function audit_partitions(days date[]) returns date[]
language plpgsql as $$
declare
    wanted date;
    today date := (now() at time zone 'utc')::date;
    made date[] := '{}';
    partition text;
begin
    for wanted in select distinct d from unnest(days) as d where d is not null order by d loop
        partition := 'audit_event_' || to_char(wanted, 'YYYYMMDD');
        if to_regclass(format('%I.%I', current_schema, partition)) is null then
            continue when wanted < today - 7 or wanted > today + 2;
            -- One maker at a time; whoever waited finds the partition made. The number is ours: 'cwAP'.
            perform pg_advisory_xact_lock(1668759888);
            execute format(
                'create table if not exists %I partition of audit_event for values from (%L) to (%L)',
                partition, wanted, wanted + 1
            );
        end if;
        made := made || wanted;
    end loop;
    return made;
end
$$;
