-- People who sign in, their teams and who was asked to join. For the control plane alone: nodes never receive these.
set local lock_timeout = '2s';

create table account (
    account_id uuid not null constraint account_pk primary key,
    -- In lower case, so that one mailbox is one account.
    email text not null constraint account_email_unique unique,
    name text not null,
    -- An argon2id hash in PHC form, keyed with a pepper that this database does not hold. Null: no sign-in with one.
    password text,
    pepper_version integer not null default 0,
    state text not null,
    -- What it may as an operator; nothing when null.
    role text,
    -- What the person called their team at sign-up; empty for those who did not sign up.
    organization text not null,
    created_at timestamptz not null default now(),
    -- Who let it in, shut it out or let it in again, last.
    decided_at timestamptz,
    decided_by text,
    constraint account_email_check check (email = lower(email) and char_length(email) between 3 and 254),
    constraint account_name_check check (char_length(name) between 1 and 200),
    constraint account_password_check check (password like '$argon2id$%' and octet_length(password) <= 512),
    constraint account_pepper_version_check check (pepper_version between 0 and 65535),
    constraint account_state_check check (state in ('pending', 'active', 'disabled')),
    constraint account_role_check
        check (role in ('viewer', 'developer', 'approver', 'operator', 'security', 'auditor', 'admin')),
    constraint account_organization_check check (char_length(organization) <= 200),
    constraint account_decided_check check ((decided_at is null) = (decided_by is null))
);

create index account_created_idx on account (created_at, account_id);
-- For their number, which is bounded: anybody can ask.
create index account_pending_idx on account (account_id) where state = 'pending';

-- The cookie holds the id, the database its digest: a dump opens no session.
create table account_session (
    digest bytea not null constraint account_session_pk primary key,
    account_id uuid not null constraint account_session_account_fk references account (account_id) on delete cascade,
    created_at timestamptz not null,
    seen_at timestamptz not null,
    expires_at timestamptz not null,
    constraint account_session_digest_check check (octet_length(digest) = 32)
);

create index account_session_account_idx on account_session (account_id);
create index account_session_expires_idx on account_session (expires_at);

-- A team is a consumer with people.
create table team_member (
    consumer_id uuid not null constraint team_member_consumer_fk references consumer (consumer_id) on delete cascade,
    account_id uuid not null constraint team_member_account_fk references account (account_id) on delete cascade,
    role text not null,
    since timestamptz not null default now(),
    constraint team_member_pk primary key (consumer_id, account_id),
    constraint team_member_role_check check (role in ('owner', 'developer', 'viewer'))
);

create index team_member_account_idx on team_member (account_id);

create table account_invitation (
    invitation_id uuid not null constraint account_invitation_pk primary key,
    -- SHA-256 of what the link holds.
    digest bytea not null constraint account_invitation_digest_unique unique,
    email text not null,
    -- The team, if there is one, and what the person becomes there.
    consumer_id uuid constraint account_invitation_consumer_fk references consumer (consumer_id) on delete cascade,
    team_role text,
    -- What the person may as an operator.
    role text,
    invited_by text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    -- One for each person and team, and one beside them for each person without a team.
    constraint account_invitation_email_unique unique nulls not distinct (email, consumer_id),
    constraint account_invitation_digest_check check (octet_length(digest) = 32),
    constraint account_invitation_email_check check (email = lower(email) and char_length(email) between 3 and 254),
    constraint account_invitation_team_role_check check (team_role in ('owner', 'developer', 'viewer')),
    constraint account_invitation_role_check
        check (role in ('viewer', 'developer', 'approver', 'operator', 'security', 'auditor', 'admin')),
    constraint account_invitation_team_check check ((consumer_id is null) = (team_role is null)),
    constraint account_invitation_what_check check (team_role is not null or role is not null)
);

create index account_invitation_consumer_idx on account_invitation (consumer_id);
create index account_invitation_expires_idx on account_invitation (expires_at);

-- Who switched a key off: what the API's owner has switched off, a team does not switch on again.
alter table api_key add column disabled_by text;
