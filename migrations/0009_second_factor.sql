-- The second factor of people (RFC 6238), sign-ins that wait for it, links that lead to another password, and people whom an OpenID
-- provider vouches for.
set local lock_timeout = '2s';

-- What a session was begun with. Sessions of before, and those that nodes of before begin, were begun with a password alone.
alter table account_session
    add column proof text not null default 'password',
    add constraint account_session_proof_check check (proof in ('password', 'second_factor', 'provider'));

create table account_second_factor (
    account_id uuid not null
        constraint account_second_factor_pk primary key
        constraint account_second_factor_account_fk references account (account_id) on delete cascade,
    -- Sealed under a key that is derived from a pepper, which this database does not hold, and bound to the account.
    secret bytea not null,
    pepper_version integer not null,
    -- The step of the last code that was taken: a code counts once, whichever node is asked.
    last_step bigint not null,
    created_at timestamptz not null default now(),
    constraint account_second_factor_secret_check check (octet_length(secret) between 37 and 200),
    constraint account_second_factor_pepper_version_check check (pepper_version between 0 and 65535),
    constraint account_second_factor_last_step_check check (last_step >= 0)
);

-- Codes for whoever has lost the device. A row is gone when its code was used.
create table account_recovery_code (
    account_id uuid not null
        constraint account_recovery_code_factor_fk references account_second_factor (account_id) on delete cascade,
    -- HMAC-SHA-256 under the pepper of the factor.
    digest bytea not null,
    constraint account_recovery_code_pk primary key (account_id, digest),
    constraint account_recovery_code_digest_check check (octet_length(digest) = 32)
);

-- Whoever has given their password and not yet the code. It opens nothing.
create table account_sign_in (
    -- SHA-256 of what the cookie holds.
    digest bytea not null constraint account_sign_in_pk primary key,
    account_id uuid not null constraint account_sign_in_account_fk references account (account_id) on delete cascade,
    tries integer not null default 0,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    constraint account_sign_in_digest_check check (octet_length(digest) = 32)
);

create index account_sign_in_account_idx on account_sign_in (account_id);
create index account_sign_in_expires_idx on account_sign_in (expires_at);

-- One for each account: a new one takes the place of the one before.
create table account_reset (
    account_id uuid not null
        constraint account_reset_pk primary key
        constraint account_reset_account_fk references account (account_id) on delete cascade,
    -- SHA-256 of what the link holds.
    digest bytea not null constraint account_reset_digest_unique unique,
    issued_by text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    constraint account_reset_digest_check check (octet_length(digest) = 32)
);

-- Whom an OpenID provider vouches for, by what it calls them: addresses change hands.
create table account_identity (
    issuer text not null,
    subject text not null,
    account_id uuid not null constraint account_identity_account_fk references account (account_id) on delete cascade,
    created_at timestamptz not null default now(),
    constraint account_identity_pk primary key (issuer, subject),
    constraint account_identity_issuer_check check (octet_length(issuer) between 1 and 1024),
    constraint account_identity_subject_check check (octet_length(subject) between 1 and 255)
);

create index account_identity_account_idx on account_identity (account_id);

-- Answers of providers that were used, until they would be too old anyway.
create table account_provider_use (
    digest bytea not null constraint account_provider_use_pk primary key,
    expires_at timestamptz not null,
    constraint account_provider_use_digest_check check (octet_length(digest) = 32)
);

create index account_provider_use_expires_idx on account_provider_use (expires_at);
