-- What was decided about keys that waited for approval. A table of its own: few keys wait, and a key has one decision or none.
set local lock_timeout = '2s';

create table key_decision (
    -- The first decision stays: a second one has no place.
    key_id char(12) collate "C" not null constraint key_decision_pk primary key
        constraint key_decision_key_fk references api_key (key_id) on delete cascade,
    verdict text not null,
    -- Why it was refused, in words for the team.
    reason text,
    decided_at timestamptz not null default now(),
    decided_by text not null,
    constraint key_decision_verdict_check check (verdict in ('approved', 'refused')),
    constraint key_decision_reason_check check ((verdict = 'refused') = (reason is not null) and char_length(reason) between 1 and 300)
);
