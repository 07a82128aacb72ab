-- To the owners and developers of a team who want it, by mail, and to its webhook. A team that has too much waiting for one way gets no
-- more by it of what is not urgent: mails that nobody sends keep no webhook from being called.
with receiver as (
    select 'mail' as channel, account.account_id
    from team_member
    join account on account.account_id = team_member.account_id
    where
        team_member.consumer_id = $1
        and team_member.role in ('owner', 'developer')
        and account.state = 'active'
        and not exists (
            select 1 from mail_refusal where mail_refusal.account_id = account.account_id and mail_refusal.topic = $4::text
        )
    union all
    -- What is told of a webhook is told to people alone.
    select 'webhook', null::uuid from team_webhook where consumer_id = $1 and state = 'on' and $2 <> 'webhook.set'
)
insert into notification (kind, channel, consumer_id, account_id, data)
select $2, receiver.channel, $1, receiver.account_id, $3
from receiver
where
    $5
    or (
        select count(*) from notification as waiting
        where waiting.consumer_id = $1 and waiting.state = 'queued' and waiting.channel = receiver.channel
    ) < $6
