-- What keys are used for: counted by the audit loader, in the transaction that loads the records.
set local lock_timeout = '2s';

-- One row for each slot of time, node, key and route: no two nodes ever wait for each other. Slots of ten seconds ('t') count
-- old secrets only and are kept for minutes, those of a minute ('m') for two days, those of an hour ('h') for four hundred.
create table key_usage (
    grain "char" not null,
    at timestamptz not null,
    node text not null,
    key_id text not null,
    route text not null,
    region text,
    tenant text,
    consumer text,
    application text,
    requests bigint not null,
    denied bigint not null,
    client_errors bigint not null,
    server_errors bigint not null,
    old_secret bigint not null,
    request_bytes bigint not null,
    response_bytes bigint not null,
    -- Counts of durations, four slots in each octave from 64 microseconds on.
    latency bigint[] not null,
    constraint key_usage_pk primary key (grain, at, node, key_id, route),
    constraint key_usage_grain_check check (grain in ('t', 'm', 'h'))
);

create index key_usage_key_idx on key_usage (key_id, grain, at);
create index key_usage_application_idx on key_usage (application, grain, at);

-- The last use of each key; written at most once a minute.
create table key_use (
    key_id text not null constraint key_use_pk primary key,
    at timestamptz not null,
    region text,
    client text
);

-- Adds counts slot by slot.
create function counts_sum(a bigint[], b bigint[]) returns bigint[]
language sql immutable parallel safe as $$
    select array_agg(coalesce(x, 0) + coalesce(y, 0) order by n) from unnest(a, b) with ordinality as pair (x, y, n)
$$;

create aggregate counts_total (bigint[]) (sfunc = counts_sum, stype = bigint[], initcond = '{}');
