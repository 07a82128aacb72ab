-- What a key can go through: a second secret for a while, restrictions, a plan of its own, peppers in layers.
set local lock_timeout = '2s';

alter table api_key
    -- The peppers of the digest, innermost first, once a rotation has put a layer around it. Null: `pepper_version` alone.
    add column peppers integer[],
    -- Rises with each roll, so that a connection knows which secret it was opened with.
    add column secret_number integer not null default 1,
    -- The secret before the last roll, while it is still taken.
    add column previous_digest bytea,
    add column previous_peppers integer[],
    add column previous_until timestamptz,
    add column previous_last_four text,
    add column rolled_at timestamptz,
    -- Null: the application's plan.
    add column plan_id uuid constraint api_key_plan_fk references plan (plan_id),
    -- Routes, methods and addresses, as nodes receive them.
    add column restrictions jsonb not null default '{}',
    add column revoked_reason text,
    -- Who made it with which Idempotency-Key, and a digest of what was asked for: a repeated call finds what it made.
    add column create_token bytea,
    add column create_fingerprint bytea;

alter table api_key
    drop constraint api_key_state_check,
    add constraint api_key_state_check check (state in ('pending', 'active', 'disabled', 'revoked')),
    add constraint api_key_previous_check check (
        (previous_digest is null) = (previous_peppers is null)
        and (previous_digest is null) = (previous_until is null)
        and (previous_digest is null) = (previous_last_four is null)
        and (previous_digest is null or octet_length(previous_digest) = 32)
    ),
    add constraint api_key_revoked_reason_check check (revoked_reason is null or state = 'revoked'),
    add constraint api_key_create_token_check check (
        (create_token is null) = (create_fingerprint is null)
        and (create_token is null or octet_length(create_token) = 32)
        and (create_fingerprint is null or octet_length(create_fingerprint) = 32)
    );

create unique index api_key_create_token_unique on api_key (create_token) where create_token is not null;
create index api_key_plan_idx on api_key (plan_id) where plan_id is not null;
