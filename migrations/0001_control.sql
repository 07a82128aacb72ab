-- The control plane: revisions, and the rows that they number.
set local lock_timeout = '2s';

-- One row a lane. Each control transaction locks its lane's row first and raises `rev` last; the lock lasts until commit,
-- so revisions are allocated, committed and become visible in one order, without gaps. A rollback undoes the increment,
-- which a sequence would not (its values commit out of order).
create table control_head (
    lane text not null constraint control_head_pk primary key,
    epoch bigint not null,
    rev bigint not null,
    -- The server that gave the last revision. A write on another timeline or cluster starts a new epoch: revisions that
    -- were lost with the old primary must not be mistaken for those that take their numbers. Null until the first write.
    timeline integer,
    system_identifier bigint,
    constraint control_head_lane_check check (lane in ('authority', 'structural')),
    constraint control_head_rev_check check (rev >= 0 and epoch >= 1)
);

insert into control_head (lane, epoch, rev) values ('authority', 1, 0), ('structural', 1, 0);

-- What each revision changed. `n_rows` stands in every row of a revision, so that a reader can assert that it has them all.
-- `body` is a whole row as nodes receive it: applying it twice changes nothing.
create table control_log (
    rev bigint not null,
    lane text not null,
    epoch bigint not null,
    ordinal integer not null,
    n_rows integer not null,
    kind text not null,
    entity text not null,
    op text not null,
    body jsonb,
    actor text not null,
    at timestamptz not null default now(),
    constraint control_log_pk primary key (lane, rev, ordinal),
    constraint control_log_lane_check check (lane in ('authority', 'structural')),
    constraint control_log_op_check check (op in ('put', 'move', 'remove')),
    constraint control_log_ordinal_check check (ordinal >= 1 and ordinal <= n_rows)
);

create table tenant (
    tenant_id uuid not null constraint tenant_pk primary key,
    name text not null constraint tenant_name_unique unique,
    -- The document's entry (hosts), so that a node compiles exactly what was accepted.
    body jsonb not null,
    position integer not null,
    managed_by text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint tenant_managed_by_check check (managed_by in ('file', 'api'))
);

create table plan (
    plan_id uuid not null constraint plan_pk primary key,
    name text not null constraint plan_name_unique unique,
    body jsonb not null,
    position integer not null,
    managed_by text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint plan_managed_by_check check (managed_by in ('file', 'api'))
);

-- The rest of the structural document. Nothing refers to these rows by key; the compiler checks the names.
create table gateway_resource (
    kind text not null,
    name text not null,
    body jsonb not null,
    position integer not null,
    managed_by text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint gateway_resource_pk primary key (kind, name),
    constraint gateway_resource_kind_check check (kind in ('region', 'domain', 'upstream', 'api', 'route')),
    constraint gateway_resource_managed_by_check check (managed_by in ('file', 'api'))
);

create table consumer (
    consumer_id uuid not null constraint consumer_pk primary key,
    name text not null constraint consumer_name_unique unique,
    tenant_id uuid not null constraint consumer_tenant_fk references tenant (tenant_id),
    managed_by text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint consumer_managed_by_check check (managed_by in ('file', 'api'))
);

create index consumer_tenant_idx on consumer (tenant_id);

create table application (
    application_id uuid not null constraint application_pk primary key,
    name text not null constraint application_name_unique unique,
    consumer_id uuid not null constraint application_consumer_fk references consumer (consumer_id),
    plan_id uuid constraint application_plan_fk references plan (plan_id),
    scopes text[] not null default '{}',
    managed_by text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint application_managed_by_check check (managed_by in ('file', 'api'))
);

create index application_consumer_idx on application (consumer_id);
create index application_plan_idx on application (plan_id);

-- Nothing here authenticates: the digest is an HMAC under a pepper that this database does not hold.
create table api_key (
    key_id char(12) collate "C" not null constraint api_key_pk primary key,
    digest bytea not null constraint api_key_digest_unique unique,
    pepper_version integer not null,
    application_id uuid not null constraint api_key_application_fk references application (application_id),
    name text not null,
    -- For lists: the kind of key, and the end of its checksum.
    prefix text not null,
    last_four text not null,
    -- Null: the application's scopes. Empty: none.
    scopes text[],
    state text not null,
    expires_at timestamptz not null,
    created_at timestamptz not null default now(),
    created_by text not null,
    revoked_at timestamptz,
    revoked_by text,
    managed_by text not null default 'api',
    constraint api_key_digest_check check (octet_length(digest) = 32),
    constraint api_key_pepper_version_check check (pepper_version between 0 and 65535),
    constraint api_key_prefix_check check (prefix in ('cw_live_', 'cw_test_')),
    constraint api_key_last_four_check check (length(last_four) = 4),
    constraint api_key_state_check check (state in ('active', 'disabled', 'revoked')),
    constraint api_key_revoked_check check ((state = 'revoked') = (revoked_at is not null)),
    constraint api_key_managed_by_check check (managed_by in ('file', 'api'))
);

create index api_key_application_idx on api_key (application_id);
create index api_key_created_at_idx on api_key (created_at, key_id);

-- For the control plane alone: nodes never receive these.
create table operator_token (
    token_id char(12) collate "C" not null constraint operator_token_pk primary key,
    digest bytea not null constraint operator_token_digest_unique unique,
    pepper_version integer not null,
    name text not null,
    role text not null,
    expires_at timestamptz,
    created_at timestamptz not null default now(),
    created_by text not null,
    revoked_at timestamptz,
    revoked_by text,
    constraint operator_token_digest_check check (octet_length(digest) = 32),
    constraint operator_token_pepper_version_check check (pepper_version between 0 and 65535),
    constraint operator_token_role_check
        check (role in ('viewer', 'developer', 'approver', 'operator', 'security', 'auditor', 'admin'))
);

-- A name may be used again once its token is revoked.
create unique index operator_token_name_unique on operator_token (name) where revoked_at is null;

-- What each node last said. Acknowledgements of revocations and the refusal of structural revisions are read from here.
create table node (
    name text not null constraint node_pk primary key,
    region text not null,
    incarnation bigint not null,
    epoch bigint not null,
    authority bigint not null,
    structural bigint not null,
    nack_structural bigint,
    nack_message text,
    last_seen timestamptz not null default now(),
    constraint node_nack_check check ((nack_structural is null) = (nack_message is null))
);
