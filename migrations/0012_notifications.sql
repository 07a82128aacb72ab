-- What people are told: an outbox that is written in the transaction of the act, and read by the nodes' senders.
set local lock_timeout = '2s';

create table notification (
    -- Stable over all attempts, so that receivers can drop repeats.
    notification_id uuid not null constraint notification_pk primary key default gen_random_uuid(),
    kind text not null,
    -- By which way; 'operators' becomes one row for each address and webhook of the node file.
    channel text not null,
    -- No foreign keys: a lock on a person or a team must not meet those of the act that tells about them. Who is gone gets nothing.
    account_id uuid,
    consumer_id uuid,
    -- For people without an account, and for operators.
    address text,
    -- What happened, for receivers; never a secret.
    data jsonb not null,
    state text not null default 'queued',
    created_at timestamptz not null default now(),
    due_at timestamptz not null default now(),
    -- After this instant it is not tried again.
    give_up_at timestamptz not null default now() + interval '24 hours',
    -- Counts claims, and so tells a claim from the one before: a sender that comes late changes nothing.
    attempts integer not null default 0,
    leased_until timestamptz,
    ended_at timestamptz,
    -- Why the last attempt failed, in words that the team may read.
    fault text,
    constraint notification_kind_check check (char_length(kind) between 1 and 40),
    constraint notification_channel_check check (channel in ('mail', 'webhook', 'operators', 'operators_webhook')),
    constraint notification_state_check check (state in ('queued', 'delivered', 'failed')),
    constraint notification_ended_check check ((state = 'queued') = (ended_at is null)),
    constraint notification_attempts_check check (attempts >= 0),
    constraint notification_address_check check (char_length(address) between 3 and 254),
    constraint notification_fault_check check (char_length(fault) <= 200)
);

create index notification_due_idx on notification (due_at) where state = 'queued';
create index notification_created_idx on notification (created_at, notification_id);
create index notification_consumer_idx on notification (consumer_id, created_at) where consumer_id is not null;
create index notification_address_idx on notification (address, created_at) where address is not null;
create index notification_ended_idx on notification (ended_at) where state <> 'queued';

-- Where a team wants to be told. The address is sealed too: with many receivers it is all that lets somebody in.
create table team_webhook (
    consumer_id uuid not null constraint team_webhook_pk primary key
        constraint team_webhook_consumer_fk references consumer (consumer_id) on delete cascade,
    -- The name in the address, for people.
    host text not null,
    -- Address and secret, sealed under a key from a pepper.
    sealed bytea not null,
    pepper_version integer not null,
    state text not null default 'on',
    created_at timestamptz not null default now(),
    created_by text not null,
    constraint team_webhook_host_check check (char_length(host) between 1 and 255),
    constraint team_webhook_sealed_check check (octet_length(sealed) <= 4096),
    constraint team_webhook_pepper_version_check check (pepper_version between 0 and 65535),
    constraint team_webhook_state_check check (state in ('on', 'gone'))
);

-- Which mails somebody does not want.
create table mail_refusal (
    account_id uuid not null constraint mail_refusal_account_fk references account (account_id) on delete cascade,
    topic text not null,
    constraint mail_refusal_pk primary key (account_id, topic),
    constraint mail_refusal_topic_check check (topic in ('keys', 'ends', 'team'))
);

-- Which ends of keys were told; a key whose end is moved is told about anew.
create table key_reminder (
    key_id char(12) collate "C" not null constraint key_reminder_key_fk references api_key (key_id) on delete cascade,
    expires_at timestamptz not null,
    -- How many days before; 0 is the end itself.
    days integer not null,
    constraint key_reminder_pk primary key (key_id, expires_at, days),
    constraint key_reminder_days_check check (days in (0, 1, 3, 14))
);
