-- Tokens of people, by which programs of theirs do what they may do on the pages. For the control plane alone: nodes never receive these.
set local lock_timeout = '2s';

create table account_token (
    -- The public id; the text begins with cw_my_.
    token_id character(12) not null constraint account_token_pk primary key,
    account_id uuid not null constraint account_token_account_fk references account (account_id) on delete cascade,
    -- HMAC-SHA-256 of the secret under a pepper that this database does not hold.
    digest bytea not null,
    pepper_version integer not null,
    name text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    constraint account_token_digest_check check (octet_length(digest) = 32),
    constraint account_token_pepper_version_check check (pepper_version between 0 and 65535),
    constraint account_token_name_check check (char_length(name) between 1 and 80)
);

create index account_token_account_idx on account_token (account_id);
