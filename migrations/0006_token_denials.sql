-- Tokens that are refused although their issuer signed them.
set local lock_timeout = '2s';

create table token_denial (
    denial_id uuid not null constraint token_denial_pk primary key,
    -- `iss`, as tokens have it: an issuer that gets another name here keeps its denials.
    issuer text not null,
    -- 'token': one token, by its jti. 'subject': every token about somebody that was issued up to an instant.
    kind text not null,
    value text not null,
    -- For subjects alone.
    issued_until timestamptz,
    -- When every token that it is about is over; then it means nothing more.
    expires_at timestamptz not null,
    created_at timestamptz not null default now(),
    created_by text not null,
    constraint token_denial_what_unique unique (issuer, kind, value),
    constraint token_denial_kind_check check (kind in ('token', 'subject')),
    constraint token_denial_value_check check (octet_length(value) between 1 and 255),
    constraint token_denial_issued_until_check check ((kind = 'subject') = (issued_until is not null))
);

create index token_denial_created_idx on token_denial (created_at, denial_id);
create index token_denial_expires_idx on token_denial (expires_at);
